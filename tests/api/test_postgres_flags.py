"""How the database is named: the reference's flags, whose values are files, and passwords that nobody gets to see."""
import subprocess

import pytest

import api_support


def run(*args, env=None, directory):
    return subprocess.run([api_support.program("ambient-api-server"), *args], capture_output=True, text=True,
                          timeout=60, cwd=directory, env={"PATH": "/usr/bin:/bin", **(env or {})})


def files_of(tmp_path, **values):
    flags = []
    for name, value in values.items():
        path = tmp_path / f"db.{name}"
        path.write_text(value + "\n")  # as an editor or a Secret made with echo leaves it
        path.chmod(0o600)
        flags.append(f"--db-{name}-file={path.name}")  # relative paths count from where the program runs
    return flags


def test_flags_of_the_reference(database, tmp_path):
    flags = files_of(tmp_path, host=str(database.root), port="5432", user="ambient", name=database.database(),
                     password="it's a \\ secret")
    made = run("migrate", *flags, "--db-sslmode=disable", "--db-max-open-connections=50", "--enable-db-debug",
               directory=tmp_path)
    assert made.returncode == 0 and "schema 0 ->" in made.stdout, made.stderr
    assert "secret" not in made.stdout + made.stderr
    verified = run("verify", *flags, directory=tmp_path)
    assert verified.returncode == 0 and verified.stdout.startswith("0 messages checked"), verified.stderr


def test_what_is_wrong_is_said(tmp_path):
    for values, flags, words in (({}, ["--db-host-file=nowhere"], "--db-host-file"),
                                 ({"host": ""}, ["--db-sslmode=disable"], "is empty"),
                                 ({"host": "/nowhere"}, ["--db-sslmode=maybe"], "--db-sslmode"),
                                 ({"host": "/nowhere", "name": "x"}, [], "the database does not answer"),
                                 ({}, ["--db-url=postgres://[x"], "not one of PostgreSQL"),
                                 ({}, ["--db-url=postgres://u:pass@h/d"], "--db-password-file")):
        refused = run("migrate", *files_of(tmp_path, **values), *flags, directory=tmp_path)
        assert refused.returncode != 0 and words in refused.stderr, (flags, refused.stderr)


def test_a_password_in_the_environment_is_not_shown(database, tmp_path):
    url = f"postgres://ambient:hunter2@/{database.database()}?host={database.root}"
    made = run("migrate", directory=tmp_path, env={"AMBIENT_DB_URL": url})
    assert made.returncode == 0, made.stderr
    assert "user=ambient password=***" in made.stdout and "hunter2" not in made.stdout + made.stderr
    wrong = run("migrate", directory=tmp_path, env={"AMBIENT_DB_URL": url.replace(str(database.root), "/nowhere")})
    assert wrong.returncode == 7 and "hunter2" not in wrong.stderr


@pytest.mark.parametrize("url", ["postgres://u:pass@h/d", "postgres://h/d?passw%6Frd=pass",
                                 "postgres:host=h password = pass", "postgres:host=h password='pass word'",
                                 "postgres://h/d?sslpassword=pass"])
def test_a_password_among_the_arguments_is_refused(tmp_path, url):
    """However libpq lets it be written."""
    refused = run("migrate", f"--db-url={url}", directory=tmp_path)
    assert refused.returncode == 2 and "--db-url holds a password" in refused.stderr
    assert "pass word" not in refused.stderr
