"""acpctl login with an OpenID provider that follows a script; the API server verifies its tokens by its JWK set."""
import html
import json
import os
import re
import ssl
import stat
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from cli_support import Cli, Stub, on_terminal
from oidc_server import DEVICE_GRANT, OidcServer
from platform_support import ROOT, wait_until

sys.path.append(os.path.join(ROOT, "tests", "api"))
import api_support  # noqa: E402
from http_support import write_certificate  # noqa: E402

BROWSER = """#!/usr/bin/python3
import sys, urllib.request
try:
    page = urllib.request.urlopen(sys.argv[1]).read()
except urllib.error.HTTPError as e:
    page = e.read()
with open(__file__ + ".page", "wb") as f:
    f.write(page)
"""


@pytest.fixture(scope="module")
def provider():
    server = OidcServer()
    yield server
    server.stop()


@pytest.fixture
def oidc(provider):
    provider.reset()
    return provider


@pytest.fixture(scope="module")
def api_server(provider, tmp_path_factory):
    args = [f"--jwk-cert-url={provider.issuer}/protocol/openid-connect/certs", "--jwt-issuer", provider.issuer,
            "--jwt-audience", "ambient"]
    with api_support.running(tmp_path_factory.mktemp("api"), args, {"AMBIENT_ENV": "production"}) as server:
        yield server


@pytest.fixture(scope="module")
def api(api_server):
    return f"http://127.0.0.1:{api_server.ports['http']}"


@pytest.fixture
def browser(tmp_path):
    path = tmp_path / "browser"
    path.write_text(BROWSER)
    path.chmod(0o755)
    return path


@pytest.fixture
def cli(tmp_path, browser):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AMBIENT_", "DISPLAY", "WAYLAND"))}
    return Cli({**env, "BROWSER": str(browser)}, str(tmp_path / "acpctl.json"), "\0")


def words(api, oidc, how="--use-auth-code", client="acpctl"):
    return ["login", api, how, "--issuer-url", oidc.issuer, "--client-id", client]


def context(cli):
    file = cli.file()
    return file["contexts"][file["current_context"]]


def no_tokens(cli, text):
    """None of the tokens in the configuration is in the text."""
    assert context(cli)["access_token"] not in text and context(cli).get("refresh_token", "\0") not in text


def refused(cli, code, *argv, **kw):
    """The error of a login that must leave nothing behind."""
    done = cli.run(*argv, code=code, **kw)
    assert not os.path.exists(cli.config)
    return done.stderr.splitlines()[-1].removeprefix("Error: ")


# ---- browser ----

def test_browser_login_with_pkce(cli, api, oidc, browser):
    done = cli.run(*words(api, oidc), "--project", "demo")
    assert f"Login successful. Configuration saved to {cli.config}\n" in done.stdout and done.stderr == ""
    asked = next(q for path, q in oidc.seen if path == "/auth")
    assert list(asked) == sorted(asked)  # the reference's order
    assert asked["client_id"] == "acpctl" and asked["prompt"] == "consent" and asked["scope"] == "openid offline_access"
    assert len(asked["state"]) == len(asked["nonce"]) == 22 and len(asked["code_challenge"]) == 43
    exchange = oidc.asked("authorization_code")[0]
    assert len(exchange["code_verifier"]) == 43 and "client_secret" not in exchange
    no_tokens(cli, done.stdout)
    assert "Login successful" in (browser.parent / "browser.page").read_text()
    assert stat.S_IMODE(os.stat(cli.config).st_mode) == 0o600
    assert context(cli)["login_method"] == "auth-code" and context(cli)["issuer_url"] == oidc.issuer
    assert cli.file()["refresh_token"] == context(cli)["refresh_token"]  # for the reference's CLI
    who = cli.out("whoami")
    assert who.splitlines()[0] == "User:       alice" and "Subject:    id-of-alice" in who
    cli.run("create", "project", "--name", "mine")  # the server takes the token
    assert [p["name"] for p in cli.json("get", "projects")["items"]] == ["mine"]
    assert oidc.asked("refresh_token") == []


def visit(url):
    try:
        return urllib.request.urlopen(url).read().decode()
    except urllib.error.HTTPError as e:
        return e.read().decode()


def test_without_a_browser_the_address_is_enough(cli, api, oidc):
    with cli.start(*words(api, oidc), "--no-browser") as login:
        login.wait_for("/auth?")
        url = re.search(r"http\S+/auth\?\S+", login.text())[0]
        there = urllib.parse.urlsplit(dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["redirect_uri"])
        assert there.hostname == "127.0.0.1"
        with pytest.raises(urllib.error.HTTPError) as e:  # anything else of this machine gets nothing and ends nothing
            urllib.request.urlopen(f"http://{there.netloc}/")
        assert e.value.code == 404
        assert "Login successful" in visit(url)
        status, out, _ = login.end()
    assert status == 0 and "Login successful." in out


@pytest.mark.parametrize("fault, code, message", [
    ({"deny": "<b>not</b> you"}, 4, "auth-code login: <b>not</b> you"),
    ({"state": "forged"}, 1, "auth-code login: the callback's state is not the one of this login"),
    ({"iss": "https://evil.corp"}, 1, "auth-code login: the callback comes from another issuer"),
    ({"id_token": {"nonce": "other"}}, 4, "auth-code login: ID token: it does not answer this login (nonce)"),
    ({"id_token": {"aud": "another"}}, 4, "auth-code login: ID token: it is for another client"),
    ({"id_token": {"aud": ["acpctl", "b"]}}, 4, "auth-code login: ID token: it was issued to another client"),
    ({"id_token": {"iss": "https://evil.corp"}}, 4, "auth-code login: ID token: another issuer made it"),
    ({"id_token": {"exp": 1000}}, 4, "auth-code login: ID token: it is expired"),
], ids=lambda v: str(v)[:40] if isinstance(v, dict) else "")
def test_what_does_not_fit_is_refused(cli, api, oidc, browser, fault, code, message):
    for name, value in fault.items():
        setattr(oidc, name, value)
    assert refused(cli, code, *words(api, oidc)) == message
    page = browser.parent / "browser.page"
    text = wait_until("the page", lambda: page.exists() and page.read_text())
    assert "<b>not" not in text
    if "deny" in fault:
        assert "<b>not</b> you" in html.unescape(text)


def test_a_wrong_callback_gets_400(cli, api, oidc):
    with cli.start(*words(api, oidc), "--no-browser") as login:
        login.wait_for("/auth?")
        redirect = urllib.parse.unquote(re.search(r"redirect_uri=(\S+?)&", login.text())[1])
        with pytest.raises(urllib.error.HTTPError) as e:
            urllib.request.urlopen(redirect + "?state=x&code=y")
        assert e.value.code == 400
        status, _, err = login.end()
    assert status == 1 and "state" in err


# ---- issuers ----

def test_keycloak_paths_without_discovery(cli, api, oidc):
    oidc.discovery = False
    cli.run(*words(api, oidc))
    asked = next(q for path, q in oidc.seen if path == "/auth")
    assert "scope" not in asked and "nonce" not in asked
    assert "alice" in cli.out("whoami")


@pytest.mark.parametrize("document, message", [
    ({"issuer": "https://evil.corp"}, 'is for issuer "https://evil.corp"'),
    ({"token_endpoint": "http://evil.corp/token"}, "token_endpoint http://evil.corp/token: only https is accepted"),
    ({"token_endpoint": None}, 'token_endpoint "" is no URL'),
])
def test_discovery_that_is_not_trusted(cli, api, oidc, document, message):
    oidc.document = document
    done = cli.run(*words(api, oidc), code=7 if "issuer" in document else 2)
    assert message in done.stderr
    assert not os.path.exists(cli.config)


def test_secrets_do_not_travel_in_the_open(cli, api):
    text = refused(cli, 2, "login", api, "--device-code", "--issuer-url", "http://sso.corp.net/realms/x")
    assert text == "device-code login: issuer http://sso.corp.net/realms/x: only https is accepted outside this machine"


def test_an_issuer_that_is_away(cli, api):
    text = refused(cli, 7, "login", api, "--device-code", "--issuer-url", "http://127.0.0.1:1")
    assert text.startswith("device-code login: issuer http://127.0.0.1:1: ")


def test_one_way_to_log_in(cli, api):
    for two in (["--use-auth-code", "--device-code"], ["--token", "-", "--client-credentials"]):
        assert refused(cli, 2, "login", api, *two) == ("exactly one of --token, --use-auth-code, --device-code, or "
                                                       "--client-credentials is required")


@pytest.fixture
def secured(tmp_path):
    """An issuer whose certificate only `--certificate-authority` makes trusted."""
    paths = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    server = OidcServer(context)
    server.ca = str(paths[0])
    yield server
    server.stop()


def test_an_issuer_behind_tls(cli, api, secured):
    argv = words(api, secured, "--device-code")
    for more in ([], ["--insecure-skip-tls-verify"]):  # which is for the API server only
        assert "certificate" in refused(cli, 7, *argv, *more)
    assert secured.seen == []
    secured.life_once = 40
    cli.run(*argv, "--certificate-authority", secured.ca)
    assert cli.run("whoami", "-t", secret=True).stdout == context(cli)["access_token"]
    assert len(secured.asked("refresh_token")) == 1  # with the stored file
    assert cli.out("logout") == "Logged out successfully.\n" and len(secured.revoked) == 1


# ---- device ----

def test_device_login(cli, api, oidc):
    oidc.device_answers = ["authorization_pending"]
    done = cli.run(*words(api, oidc, "--device-code"))
    assert "WDJB-MJHT" in done.stdout and f"{oidc.issuer}/device" in done.stdout
    assert len(oidc.asked(DEVICE_GRANT)) == 2
    no_tokens(cli, done.stdout)
    assert context(cli)["login_method"] == "device-code" and "alice" in cli.out("whoami")
    assert cli.json("get", "projects")["items"] is not None


def test_device_login_refused(cli, api, oidc):
    oidc.device_answers = ["access_denied"]
    assert refused(cli, 4, *words(api, oidc, "--device-code")) == "device-code login: token endpoint: access_denied"


# ---- service accounts ----

@pytest.fixture
def secret_file(tmp_path, provider):
    path = tmp_path / "secret"
    path.write_text(provider.clients["robot"] + "\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("basic", [False, True])
def test_client_credentials(cli, api, oidc, secret_file, basic):
    oidc.basic_only = basic
    oidc.life_once = 30  # too short: the next command asks again, by the secret's file
    done = cli.run(*words(api, oidc, "--client-credentials", "robot"), "--client-secret-file", secret_file)
    assert done.stderr == ""
    assert ("client_secret" in oidc.asked("client_credentials")[0]) != basic
    with open(cli.config) as f:
        assert oidc.clients["robot"] not in f.read()
    assert context(cli)["client_secret_file"] == secret_file and "refresh_token" not in context(cli)
    cli.json("get", "projects")
    assert len(oidc.asked("client_credentials")) == 2
    assert "service-account-robot" in cli.out("whoami")
    cli.json("get", "projects")
    assert len(oidc.asked("client_credentials")) == 2


@pytest.mark.parametrize("how", ["env", "stdin", "terminal"])
def test_the_clients_secret_stays_out_of_sight(cli, api, oidc, how):
    secret, argv = oidc.clients["robot"], words(api, oidc, "--client-credentials", "robot")
    if how == "env":
        text = cli.out(*argv, env={"AMBIENT_CLIENT_SECRET": secret})
    elif how == "stdin":
        text = cli.out(*argv, "--client-secret", "@-", stdin=secret + "\n")
    else:
        status, text = on_terminal(cli, *argv, "--client-secret", "-", answer=secret + "\n")
        assert status == 0
    assert "Login successful." in text and secret not in text


def test_client_credentials_need_a_secret(cli, api, oidc):
    text = refused(cli, 2, *words(api, oidc, "--client-credentials", "robot"))
    assert "--client-secret-file" in text and text.endswith("is required with --client-credentials")


def test_a_wrong_secret(cli, api, oidc):
    argv = words(api, oidc, "--client-credentials", "robot")
    text = refused(cli, 4, *argv, "--client-secret", "-", stdin="wrong")
    assert text.endswith("token endpoint: Invalid client or Invalid client credentials")


def test_a_literal_secret_is_warned_about_and_wiped(cli, oidc):
    """Nobody can read it in the process table while the command waits for its issuer."""
    slow = threading.Event()
    stub = Stub(404, "{}")
    stub.RequestHandlerClass = type("Slow", (stub.RequestHandlerClass,), {
        "do_GET": lambda self: (slow.wait(30), super(type(self), self).do_GET())[1]})
    secret = "argv-secret-0815"
    argv = ["login", "http://127.0.0.1:1", "--client-credentials", "--issuer-url", stub.url, "--client-id", "robot",
            "--client-secret", secret]
    with cli.start(*argv) as login:
        wait_until("the blanks", lambda: secret.encode() not in open(f"/proc/{login.proc.pid}/cmdline", "rb").read())
        slow.set()
        _, out, err = login.end()
    stub.__exit__()
    assert "Warning: a client secret on the command line can be seen by others" in err
    assert secret not in out + err


# ---- renewal ----

def test_a_token_is_renewed_before_it_expires(cli, api, oidc):
    oidc.life_once = 40  # seconds: less than a minute is left
    cli.run(*words(api, oidc))
    before = context(cli)
    cli.json("get", "projects")
    after = context(cli)
    assert after["access_token"] != before["access_token"] and after["refresh_token"] != before["refresh_token"]
    assert [p["refresh_token"] for p in oidc.asked("refresh_token")] == [before["refresh_token"]]
    cli.json("get", "projects")
    assert len(oidc.asked("refresh_token")) == 1


def test_parallel_commands_renew_once(cli, api, oidc):
    oidc.life_once = 40
    cli.run(*words(api, oidc))
    oidc.hold = threading.Event()
    running = [cli.start("get", "projects", "-o", "json") for _ in range(6)]
    wait_until("the refresh", lambda: oidc.asked("refresh_token"))
    oidc.hold.set()
    ends = [r.end() for r in running]
    assert [e[0] for e in ends] == [0] * 6, ends
    assert len(oidc.asked("refresh_token")) == 1


def test_a_renewal_is_not_undone_by_another_command(cli, api, oidc):
    """The configuration was read before the renewal and is written after it."""
    oidc.life_once = 40
    cli.run(*words(api, oidc))
    cli.run("create", "project", "--name", "renewed", "--no-switch")
    fresh = context(cli)["refresh_token"]
    cli.run("project", "renewed")
    assert context(cli)["refresh_token"] == fresh and context(cli)["project"] == "renewed"


def test_a_refused_token_is_renewed_once(cli, api, oidc):
    """401 although the token has time left: the server may know better."""
    cli.run(*words(api, oidc))
    with Stub(401, '{"code":"x","reason":"no"}') as stub:
        text = cli.fails(4, "get", "projects", "--api-url", stub.url)
        assert len(stub.seen) == 2 and stub.seen[0][1]["Authorization"] != stub.seen[1][1]["Authorization"]
    assert text.endswith("run 'acpctl login'") and len(oidc.asked("refresh_token")) == 1


def change(cli, **members):
    """Rewrites the current context, as time or an administrator might."""
    file = cli.file()
    file["contexts"][file["current_context"]].update(members)
    cli.write(file)


def test_an_expired_session_says_what_to_do(cli, api, oidc):
    cli.run(*words(api, oidc))
    oidc.refresh.clear()
    change(cli, token_renew_at="2020-01-01T00:00:00Z", token_expires_at="2020-01-01T00:00:00Z")
    text = cli.fails(4, "get", "projects")
    assert text == "session expired (Token is not active); run 'acpctl login'"


def test_an_issuer_that_is_away_does_not_matter_while_the_token_lives(cli, api, oidc):
    oidc.life_once = 40
    cli.run(*words(api, oidc))
    change(cli, issuer_url="http://127.0.0.1:1")
    assert cli.json("get", "projects")["items"] is not None


def test_a_watch_outlives_its_first_token(cli, api, api_server, oidc):
    cli.env["AMBIENT_GRPC_URL"] = f"127.0.0.1:{api_server.ports['grpc']}"  # not whoever has the usual port
    oidc.life_once = 61  # to be renewed after one second
    cli.run(*words(api, oidc), "--project", "mine")
    with cli.start("get", "sessions", "-w") as watch:
        wait_until("the renewal", lambda: oidc.asked("refresh_token"))
        wait_until("the new token", lambda: context(cli)["refresh_token"] in oidc.refresh)
        assert watch.proc.poll() is None


def test_a_token_of_the_environment_is_left_alone(cli, api, oidc):
    oidc.life_once = 40
    cli.run(*words(api, oidc))
    token = oidc.sign(sub="x", preferred_username="bob", aud="ambient", exp=int(time.time()) + 10)
    assert "User:       bob" in cli.out("whoami", env={"AMBIENT_TOKEN": token})
    cli.json("get", "projects", env={"AMBIENT_TOKEN": token})
    assert oidc.asked("refresh_token") == []


def test_show_token_gives_one_that_lives(cli, api, oidc):
    oidc.life_once = 40
    cli.run(*words(api, oidc))
    before = context(cli)["access_token"]
    token = cli.out("whoami", "-t", secret=True)
    assert token == context(cli)["access_token"] != before


def test_a_flat_file_of_the_reference_is_renewed(cli, api, oidc):
    """It has no times of its own: the token's count."""
    oidc.lifetime = 40
    old = oidc.tokens("acpctl", "alice", "offline_access")
    oidc.lifetime = 3600
    cli.write({"api_url": api, "access_token": old["access_token"], "refresh_token": old["refresh_token"],
               "issuer_url": oidc.issuer, "client_id": "acpctl", "theirs": 1})
    cli.json("get", "projects")
    assert len(oidc.asked("refresh_token")) == 1
    assert cli.file()["access_token"] != old["access_token"] and cli.file()["theirs"] == 1


# ---- logout, contexts ----

def test_logout_revokes_and_forgets(cli, api, oidc):
    cli.run(*words(api, oidc))
    refresh = context(cli)["refresh_token"]
    assert cli.out("logout") == "Logged out successfully.\n"
    assert oidc.revoked == [refresh]
    for place in (cli.file(), context(cli)):
        assert not {"access_token", "refresh_token", "issuer_url", "client_id", "token_expires_at"} & set(place)
    assert cli.fails(4, "get", "projects") == "not logged in; run 'acpctl login' first"


def test_logout_does_not_need_the_issuer(cli, api, oidc):
    cli.run(*words(api, oidc))
    oidc.document = {"revocation_endpoint": "http://127.0.0.1:1/"}
    done = cli.run("logout")
    assert done.stdout == "Logged out successfully.\n"
    assert done.stderr.startswith("Note: the tokens were not revoked at the issuer: ")
    assert "refresh_token" not in json.dumps(cli.file())


def test_logins_of_two_servers_do_not_mix(cli, api, oidc):
    cli.run(*words(api, oidc))
    oidc.user = "bob"
    cli.run(*words("http://localhost:1", oidc), "--name", "other")
    assert "User:       bob" in cli.out("whoami") and "User:       alice" in cli.out("whoami", "--context", "local")
    cli.run("config", "use-context", "local")
    assert "User:       alice" in cli.out("whoami")
