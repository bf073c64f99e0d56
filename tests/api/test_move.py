"""`export` and `import`: a whole installation from SQLite to PostgreSQL and back, also when either is killed."""
import json
import signal
import sqlite3
import subprocess

import api_support
import pytest

BULK = 12_000


class Source:
    """An installation with a bit of everything, and many rows."""

    def __init__(self, directory):
        self.server = api_support.ApiServer(directory).start()
        client = self.server.client()
        client.project("demo", labels='{"a":"b"}', description="Ünïcode, \"quotes\" and \u2028 lines\n")
        client.agent("demo", "writer", llm_temperature=0.1)
        self.session = client.session(project_id="demo", timeout=2147483647)["id"]
        for i in range(200):
            client.push(self.session, f"message {i} \U0001f600 <&> \\ \t")
        gone = client.session()["id"]
        client.push(gone, "said before it was deleted")
        client.ok("DELETE", f"/sessions/{gone}")
        client.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "s3cret"})
        client.close()
        self.server.stop()
        with sqlite3.connect(self.server.database) as db:
            db.executemany("INSERT INTO usage (session_id, seq, model, cost_micros, created_at) VALUES (?, ?, ?, ?, ?)",
                           ((self.session, i, "m" * (i % 50), None if i % 3 else i, 1775000000000000 + i)
                            for i in range(BULK)))
        self.file = directory / "export.json"
        done = self.server.run("export", f"--file={self.file}")
        assert done.returncode == 0, done.stderr
        self.rows = rows_of(self.file)


def rows_of(path):
    lines = path.read_text().rstrip("\n").split("\n")
    head, last = json.loads(lines[0]), json.loads(lines[-1])
    assert head["ambient_export"] == 1 and last["done"]
    return lines[1:-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(tmp_path_factory.mktemp("source"))


@pytest.fixture(params=["sqlite", "postgres"])
def target(request, tmp_path):
    """An installation that does not exist yet."""
    if request.param == "sqlite":
        return api_support.ApiServer(tmp_path)
    database = request.getfixturevalue("database")
    return api_support.ApiServer(tmp_path, url=database.url(database.database()))


def check_copy(source, target, tmp_path):
    exported = target.run("export", f"--file={tmp_path / 'again.json'}")
    assert exported.returncode == 0, exported.stderr
    assert rows_of(tmp_path / "again.json") == source.rows
    target.start()
    client = target.client()
    assert client.ok("GET", "/projects/demo")["description"] == "Ünïcode, \"quotes\" and \u2028 lines\n"
    assert len(client.messages(source.session)) == 200
    assert client.push(source.session, "goes on")["seq"] == 201
    client.session(name="a new one")  # its event has a number of its own
    client.close()
    target.stop()
    verified = target.run("verify")
    assert verified.returncode == 0 and verified.stdout.startswith("202 messages checked, 0 "), verified.stdout


def test_everything_comes_across(source, target, tmp_path):
    assert len(source.rows) > BULK
    imported = target.run("import", f"--file={source.file}")
    assert imported.returncode == 0, imported.stderr
    assert "201 messages checked, 0 sessions do not fit" in imported.stderr
    check_copy(source, target, tmp_path)


def test_from_postgresql_to_sqlite(source, database, tmp_path):
    middle = api_support.ApiServer(tmp_path, url=database.url(database.database()))
    assert middle.run("import", f"--file={source.file}").returncode == 0
    assert middle.run("export", f"--file={tmp_path / 'middle.json'}").returncode == 0
    end = api_support.ApiServer(tmp_path)
    imported = end.run("import", f"--file={tmp_path / 'middle.json'}")
    assert imported.returncode == 0, imported.stderr
    check_copy(source, end, tmp_path)


def test_an_import_that_was_killed_goes_on(source, target, tmp_path):
    content = source.file.read_bytes()
    half = content.index(b"\n", len(content) // 2) + 1
    command = [api_support.program("ambient-api-server"), "import", f"--db-url={target.db_url}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write(content[:half])
        process.stdin.flush()
        api_support.wait_for(lambda: "was cut off" in target.run("verify").stderr, "a group of rows to be committed")
        process.send_signal(signal.SIGKILL)
        process.wait()
    refused = target.run("serve")
    assert refused.returncode == 6 and "import into this database was cut off" in refused.stderr, refused.stderr
    other = tmp_path / "other.json"
    other.write_bytes(content.replace(json.loads(content.split(b"\n")[0])["id"].encode(), b"other"))
    assert "was cut off" in target.run("import", f"--file={other}").stderr
    imported = target.run("import", f"--file={source.file}")
    assert imported.returncode == 0, imported.stderr
    again = target.run("import", f"--file={source.file}")
    assert again.returncode == 6 and "in the database already" in again.stderr
    check_copy(source, target, tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_an_export_that_was_killed_goes_on(source, tmp_path, part):
    content = source.file.read_bytes()
    cut = tmp_path / "cut.json"
    cut.write_bytes(content[:int(len(content) * part)])
    done = source.server.run("export", f"--file={cut}")
    assert done.returncode == 0, done.stderr
    assert cut.read_bytes() == content
    assert source.server.run("export", f"--file={cut}").returncode == 0  # whole already
    assert cut.read_bytes() == content


def test_an_export_does_not_go_on_in_another_store(source, target, tmp_path):
    assert target.run("import", f"--file={source.file}").returncode == 0
    target.start()
    target.client().session()
    target.stop()
    cut = tmp_path / "cut.json"
    cut.write_bytes(source.file.read_bytes()[:100_000])
    refused = target.run("export", f"--file={cut}")
    assert refused.returncode == 6 and "has changed since that export began" in refused.stderr


def without_a_row(text):
    lines = text.split("\n")
    del lines[next(i for i, line in enumerate(lines) if "message 7 " in line)]
    return "\n".join(lines)


@pytest.mark.parametrize("damage,words", [
    (lambda text: text.replace("message 7 ", "message 8 "), "its sum does not fit"),
    (lambda text: "\n".join(text.split("\n")[:-2]) + "\n", "ends before its last line"),
    (lambda text: without_a_row(text), "rows are missing"),
    (lambda text: text.replace('"table":"usage"', '"table":"unheard_of"'), "unheard_of is unknown here"),
    (lambda text: "hello\n", "invalid character"),
])
def test_a_damaged_file_is_no_store(source, tmp_path, damage, words):
    bad = tmp_path / "bad.json"
    bad.write_text(damage(source.file.read_text()))
    target = api_support.ApiServer(tmp_path)
    refused = target.run("import", f"--file={bad}")
    assert refused.returncode != 0 and words in refused.stderr, refused.stderr


def test_a_store_with_something_in_it_is_left_alone(source):
    refused = source.server.run("import", f"--file={source.file}")
    assert refused.returncode == 6 and "the database is not empty" in refused.stderr


def test_sealed_secrets_are_moved_sealed(tmp_path):
    with api_support.running(tmp_path) as server:
        client = server.client()
        client.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "s3cret"})
        client.close()
        done = subprocess.run([api_support.program("ambient-api-server"), "export", f"--db-url={server.db_url}"],
                              capture_output=True, text=True, check=True)
        assert "s3cret" not in done.stdout and "enc:v1:" in done.stdout
