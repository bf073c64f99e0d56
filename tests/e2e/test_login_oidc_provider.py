"""acpctl login with a real OpenID provider (npm oidc-provider), whose pages a person clicks through."""
import html.parser
import http.cookiejar
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from cli_support import Cli
from platform_support import DEADLINE, ROOT, wait_until

sys.path.append(os.path.join(ROOT, "tests", "api"))
import api_support  # noqa: E402


class Form(html.parser.HTMLParser):
    """The first form of a page."""

    def __init__(self, text):
        super().__init__()
        self.action, self.fields, self.closed = None, {}, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = a["action"]
        elif tag in ("input", "button") and self.action and not self.closed and a.get("name"):
            self.fields[a["name"]] = a.get("value", "")

    def handle_endtag(self, tag):
        self.closed |= tag == "form"


def click_through(url, user="alice"):
    """Fills in every form until there is none; the last page."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    page = opener.open(url, timeout=DEADLINE)
    for _ in range(8):
        text = page.read().decode()
        form = Form(text)
        if not form.action:
            return text
        fields = {**form.fields, **({"login": user, "password": "x"} if "login" in form.fields else {})}
        page = opener.open(urllib.parse.urljoin(page.url, form.action), urllib.parse.urlencode(fields).encode(),
                           timeout=DEADLINE)
    raise AssertionError("no end of forms: " + text)


@pytest.fixture(scope="module")
def issuer():
    done = subprocess.run([f"{ROOT}/scripts/test-oidc.sh"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no real OpenID provider: " + done.stdout.strip())
    # Tokens live for less than a minute: every command renews its login.
    node = subprocess.Popen(["node", f"{ROOT}/tests/e2e/oidc-provider.mjs", done.stdout.strip()], text=True,
                            env={**os.environ, "TOKEN_SECONDS": "50"}, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    port = node.stdout.readline().strip()
    if not port:
        pytest.skip("oidc-provider does not start with this node")
    yield f"http://127.0.0.1:{port}"
    node.terminate()
    node.wait(DEADLINE)
    node.stdout.close()


@pytest.fixture(scope="module")
def api(issuer, tmp_path_factory):
    args = [f"--jwk-cert-url={issuer}/jwks", "--jwt-issuer", issuer, "--jwt-audience", "ambient"]
    with api_support.running(tmp_path_factory.mktemp("api"), args, {"AMBIENT_ENV": "production"}) as server:
        yield f"http://127.0.0.1:{server.ports['http']}"


@pytest.fixture
def cli(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AMBIENT_", "BROWSER", "DISPLAY", "WAYLAND"))}
    return Cli(env, str(tmp_path / "acpctl.json"), "\0")


def argv(api, issuer, how, client="acpctl"):
    return ["login", api, how, "--issuer-url", issuer, "--client-id", client]


def renewed(cli):
    """A command that the server answers, with another refresh token behind it."""
    before = cli.file()["refresh_token"]
    assert cli.json("get", "projects")["kind"] == "ProjectList"
    assert cli.file()["refresh_token"] != before
    return before


def test_browser(cli, api, issuer):
    with cli.start(*argv(api, issuer, "--use-auth-code")) as login:
        login.wait_for("/auth?")
        page = click_through(re.search(r"http\S+/auth\?\S+", login.text())[0])
        status, out, err = login.end()
    assert (status, err) == (0, "") and "Login successful" in out and "Login successful" in page
    assert cli.out("whoami").splitlines()[0] == "User:       alice"
    renewed(cli)
    old = renewed(cli)  # it was rotated, and a used one ends the session:
    file = cli.file()
    file["contexts"][file["current_context"]]["refresh_token"] = old
    cli.write(file)
    cli.json("get", "projects")  # the access token still lives
    assert cli.out("logout") == "Logged out successfully.\n"


def test_device(cli, api, issuer):
    with cli.start(*argv(api, issuer, "--device-code")) as login:
        login.wait_for("or open ")
        wait_until("the line", lambda: re.search(r"or open (\S+)\n", login.text()))
        click_through(re.search(r"or open (\S+)\n", login.text())[1], "bob")
        status, out, err = login.end()
    assert (status, err) == (0, "") and "Login successful" in out
    assert cli.out("whoami").splitlines()[0] == "User:       bob"
    renewed(cli)
    assert cli.out("logout") == "Logged out successfully.\n"


def test_service_account(cli, api, issuer):
    words = argv(api, issuer, "--client-credentials", "robot")
    env = {"AMBIENT_CLIENT_SECRET": "robots-secret-4711"}
    cli.out(*words, env=env)
    before = cli.file()["access_token"]
    cli.json("get", "projects", env=env)
    assert cli.file()["access_token"] != before
    assert "service-account-robot" in cli.out("whoami")
