"""The program: commands, flags, listeners, health, metrics, the end."""
import contextlib
import datetime
import json
import os
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api_support import ApiServer, Client, program, running, wait_for


def run(*args, env=None, cwd=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AMBIENT_", "GRPC_SERVICE", "JWK_"))}
    return subprocess.run([program("ambient-api-server"), *args], capture_output=True, text=True, timeout=60,
                          env={**clean, **(env or {})}, cwd=cwd)


def fetch(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read().decode()


def test_version_and_help():
    version = run("version")
    assert version.returncode == 0 and version.stdout.startswith("ambient-api-server ")
    for words in (["--help"], ["help"], ["serve", "--help"]):
        shown = run(*words)
        assert shown.returncode == 0 and "--api-server-bindaddress" in shown.stdout, words
    assert run().returncode == 2 and run("nope").returncode == 2


@pytest.mark.parametrize("args, env, text", [
    (["--nope"], {}, "--nope"),
    (["--max-body-size=1"], {}, "--max-body-size"),
    (["--log-level=loud"], {}, "--log-level"),
    (["--db-url=oracle://x/y"], {}, "sqlite:PATH"),
    (["--db-url=postgres://me:word@x/y"], {}, "--db-password-file"),
    (["--db-max-open-connections=2"], {}, "at least 3"),
    (["--enable-bearer"], {}, "API_TOKEN"),
    (["--enable-tls"], {}, "certificate"),
    (["--grpc-enable-tls"], {}, "gRPC"),
    (["--grpc-enable-tls", "--grpc-tls-cert-file=/nope", "--grpc-tls-key-file=/nope"], {}, "/nope"),
    (["--enable-jwt"], {}, "JW"),
    (["--jwk-cert-file=/nope", "--enable-jwt"], {}, "/nope"),
    (["--admin-token-file=/nope"], {}, "--admin-token-file: takes the name of a file"),
    (["--api-server-bindaddress=nonsense"], {}, "nonsense"),
])
def test_settings_that_stop_the_start(tmp_path, args, env, text):
    result = run("serve", "--api-server-bindaddress=127.0.0.1:0", "--grpc-server-bindaddress=127.0.0.1:0",
                 f"--db-url=sqlite:{tmp_path}/x.db", "--metrics-server-bindaddress=",
                 "--health-check-server-bindaddress=", *args, env=env)
    assert result.returncode != 0
    assert text in result.stderr, result.stderr


def test_flags_of_existing_manifests_are_accepted(tmp_path):
    flags = ["--api-server-hostname=x", "--http-read-timeout=5s", "--http-write-timeout", "30s",
             "--tls-min-version=1.2", "--tls-max-version=1.3", "--tls-cipher-suites=", "--tls-insecure-skip-verify",
             "--tls-auto-detect-kubernetes", "--tls-custom-ca-files=", "--tls-server-name=", "--tls-enable-sni",
             "--tls-prefer-server-ciphers",
             "--acl-file=", "--auth-bypass-paths=/x", "--auth-bypass-methods=/y", "--db-host-file=secrets/db.host",
             "--db-port-file=secrets/db.port", "--db-user-file=x", "--db-password-file=x", "--db-name-file=x",
             "--db-rootcert=", "--db-sslmode=disable", "--db-max-open-connections=50", "--enable-db-debug=false",
             "--label-metrics-inclusion-duration=168h", "--api-base-url=x", "--api-token-url=x",
             "--api-client-id-file=x", "--api-client-secret-file=x", "--self-token-file=x", "--debug=false",
             "--enable-mock", "-v=5", "--v=10", "--logtostderr", "--alsologtostderr=true", "--stderrthreshold=2",
             "--vmodule=", "--log_dir=", "--log_backtrace_at=", "--enable-metrics-https=false",
             "--enable-health-check-https=false", "--cors-allowed-origins=*", "--cors-allowed-headers=X-Y",
             "--enable-jwt=false", "--enable-authz=false"]
    with running(tmp_path, flags) as server:
        answer = server.client().get("/projects", headers={"Origin": "http://anything"})
        assert answer.status == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"


def test_health(server):
    port = server.ports["health"]
    status, headers, body = fetch(port, "/healthcheck")
    assert (status, body) == (200, "{}") and headers["Content-Type"] == "application/json; charset=utf-8"
    assert fetch(port, "/healthcheck/down", "POST")[0] == 200
    status, _, body = fetch(port, "/healthcheck")
    assert status == 503 and json.loads(body) == {"maintenance_status": "maintenance mode"}
    assert fetch(port, "/healthcheck/up", "POST")[0] == 200
    assert fetch(port, "/healthcheck")[0] == 200
    assert fetch(port, "/nope")[0] == 404


def test_metrics(server, api):
    session = api.session(prompt="x")["id"]
    api.get("/sessions/nobody")
    stream = server.stream(session)
    stream.message()
    status, headers, text = fetch(server.ports["metrics"], "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    label = 'method="GET",path="/api/ambient/v1/sessions/-"'
    assert samples[f'api_inbound_request_count{{{label},code="404"}}'] >= 1
    assert samples['api_inbound_request_count{method="POST",path="/api/ambient/v1/sessions",code="201"}'] >= 1
    assert samples[f'api_inbound_request_duration_bucket{{{label},le="+Inf"}}'] == samples[
        f"api_inbound_request_duration_count{{{label}}}"]
    assert samples["api_event_streams"] >= 1 and samples["ambient_hub_message_watchers"] >= 1
    assert samples["ambient_store_commits_total"] >= 1 and samples["process_resident_memory_bytes"] > 1e6
    state = json.loads(fetch(server.ports["health"], "/debug/state")[2])
    assert state["ambient_hub_message_watchers"] >= 1
    stream.close()


def test_a_listener_without_address_is_off(tmp_path):
    with running(tmp_path, ["--metrics-server-bindaddress=", "--health-check-server-bindaddress="]) as server:
        assert server.ports["metrics"] == server.ports["health"] == 0 and server.ports["http"] > 0


def test_a_static_admin_token_closes_the_door(tmp_path):
    (tmp_path / "token").write_text("top\n")
    (tmp_path / "token").chmod(0o600)
    with running(tmp_path, ["--enable-jwt=false", f"--admin-token-file={tmp_path}/token"]) as server:
        assert server.client().get("/projects").status == 401
        assert server.client("other").get("/projects").status == 401
        assert server.client("top").get("/projects").status == 200


def test_enable_bearer_takes_its_token_from_the_environment(tmp_path):
    with running(tmp_path, ["--enable-bearer"], {"BEARER_TOKEN": "b"}) as server:
        assert server.client().get("/projects").status == 401
        assert server.client("b").get("/projects").status == 200


def test_an_explicit_flag_wins_over_development(tmp_path, keys):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    with running(tmp_path, ["--enable-jwt", f"--jwk-cert-file={tmp_path}/jwks.json"]) as server:
        assert server.client().get("/projects").status == 401
        assert server.client(keys.token("x")).get("/projects").status == 200


def test_migrate_before_serve(tmp_path):
    server = ApiServer(tmp_path, ["--no-migrate"])
    refused = subprocess.run(server.command(), capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert refused.returncode != 0 and "migrate" in refused.stderr
    assert server.run("migrate").returncode == 0
    again = server.run("migrate")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    server.start()
    try:
        assert server.client().project("after-migrate")
    finally:
        server.stop()


def test_verify_names_the_first_row_that_was_changed(tmp_path):
    with running(tmp_path) as server:
        client = server.client()
        first, second = client.session()["id"], client.session()["id"]
        for i in range(5):
            client.push(first, str(i))
            client.push(second, str(i))
    good = server.run("verify")
    assert good.returncode == 0 and good.stdout.startswith("10 messages checked")
    with sqlite3.connect(server.database) as db:
        [table] = [r[0] for r in db.execute("select name from sqlite_master where type = 'table' and name like "
                                            "'%message%' and name not like '%inbox%'").fetchall() if r[0]][:1]
        changed = db.execute(f"update {table} set payload = 'forged' where session_id = ? and seq = 3",
                             (first,)).rowcount
        assert changed == 1
    bad = server.run("verify")
    assert bad.returncode == 1 and f"session {first}, seq 3" in bad.stdout
    assert server.run("verify", f"--session={second}").returncode == 0
    assert server.run("verify", "--session", first).returncode == 1


def test_files_are_the_owners_alone(server):
    for path in pathlib.Path(server.directory).glob("ambient.db*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (pathlib.Path(server.directory) / "ports.json").stat().st_mode & 0o077 == 0


def test_tokens_are_in_no_log(tmp_path, keys):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    token = keys.token("alice")
    with running(tmp_path, ["--log-level=debug", "--enable-jwt", f"--jwk-cert-file={tmp_path}/jwks.json"],
                 {"AMBIENT_API_TOKEN": "service-secret"}) as server:
        server.client(token).get("/projects")
        server.client("service-secret").get("/projects")
        server.client("wrong-secret").get("/projects")
    log = server.log()
    assert "request" in log
    for secret in (token, token.split(".")[2], "service-secret", "wrong-secret"):
        assert secret not in log
    environ = f"/proc/{os.getpid()}/environ"
    assert "service-secret" not in pathlib.Path(environ).read_text()


def test_one_signal_drains_and_two_cut(tmp_path):
    with running(tmp_path, ["--shutdown-timeout=60s"]) as server:
        client = server.client()
        assert client.get("/projects").status == 200
        client.close()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0


def test_no_new_connections_while_it_ends(tmp_path):
    server = ApiServer(tmp_path).start()
    port = server.ports["http"]
    server.stop()
    with pytest.raises(OSError):
        Client(port).get("/projects")
    assert wait_for(lambda: "shutting down" in server.log(), "the log line")


# ---- TLS ----

def self_signed(directory, name="localhost"):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
                   .sign(key, hashes.SHA256()))
    (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (directory / "tls.key").chmod(0o600)
    return ssl.create_default_context(cafile=str(directory / "tls.crt"))


def secure_get(port, path, context):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
    return int(answer.split(b" ", 2)[1])


PAIR = ["--tls-cert-file={}/tls.crt", "--tls-key-file={}/tls.key"]


def test_tls_of_all_listeners(tmp_path):
    context = self_signed(tmp_path)
    with running(tmp_path, ["--enable-tls", *(flag.format(tmp_path) for flag in PAIR)]) as server:
        for listener, path in (("http", "/api/ambient"), ("health", "/healthcheck"), ("metrics", "/metrics")):
            assert secure_get(server.ports[listener], path, context) == 200, listener
            with pytest.raises(Exception):
                urllib.request.urlopen(f"http://127.0.0.1:{server.ports[listener]}{path}", timeout=30)
        with pytest.raises(ssl.SSLError):
            secure_get(server.ports["http"], "/", ssl.create_default_context())


def test_tls_of_rest_alone(tmp_path):
    context = self_signed(tmp_path)
    flags = ["--enable-https", f"--https-cert-file={tmp_path}/tls.crt", f"--https-key-file={tmp_path}/tls.key"]
    with running(tmp_path, flags) as server:
        assert secure_get(server.ports["http"], "/api/ambient", context) == 200
        assert fetch(server.ports["health"], "/healthcheck")[0] == 200


def test_a_signal_at_any_moment_of_the_start(tmp_path):
    """The end may come before there is anything to end."""
    for step in range(25):
        server = ApiServer(tmp_path)
        with open(server.log_path, "ab") as log:
            process = subprocess.Popen(server.command(), stdout=log, stderr=log, cwd=tmp_path)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(step * 0.002)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM), server.log()
        assert "Sanitizer" not in server.log() and "runtime error" not in server.log(), server.log()
