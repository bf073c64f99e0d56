"""Credentials: fetched with the session's own token, renewed, given to the agent and to nobody else."""
import base64
import glob
import http.server
import json
import os
import ssl
import subprocess
import threading
import urllib.request

import pytest

from runner_support import Grants, wait_until


@pytest.fixture
def grants(api):
    return Grants(api)


def run(api, sid, command):
    """One turn; what the agent said."""
    before = len(api.payloads(sid, "assistant"))
    api.send(sid, command)
    wait_until("an answer", lambda: len(api.payloads(sid, "assistant")) > before)
    return api.payloads(sid, "assistant")[-1]


def test_each_provider_where_its_tools_look(api, runners, grants, tmp_path):
    config = "apiVersion: v1\nkind: Config\nusers: []\n"
    grants.add("github", "github-token-0123456789")
    grants.add("jira", "jira-token-0123456789", url="https://jira.example.org", email="bot@example.org")
    grants.add("kubeconfig", config)
    grants.add("google", '{"type":"service_account"}')
    r = runners(api, grants.sid, **grants.env(TMPDIR=str(tmp_path))).start().ready()
    said = run(api, grants.sid, 'echo "$JIRA_URL $JIRA_EMAIL"; '
               'test "$JIRA_API_TOKEN" = jira-token-0123456789 && echo jira; '
               'test "$GITHUB_TOKEN" = github-token-0123456789 && echo github; cat "$KUBECONFIG" | wc -c; '
               'grep -c service_account "$GOOGLE_APPLICATION_CREDENTIALS"; stat -c %a "$KUBECONFIG"; '
               'cat "$KUBECONFIG"; env | grep -c "^BOT_TOKEN"')
    assert said.split("\n") == ["https://jira.example.org bot@example.org", "jira", "github", str(len(config)), "1",
                                "600", "[REDACTED_KUBECONFIG_TOKEN]", "0"]
    assert glob.glob(str(tmp_path / "ambient-credentials-*"))
    assert r.terminate() == 0
    assert not glob.glob(str(tmp_path / "ambient-credentials-*"))  # nothing stays behind


def test_a_rotated_token_is_used_by_the_next_turn_and_masked(api, runners, grants):
    grants.add("github", "first-token-0123456789")
    r = runners(api, grants.sid, **grants.env()).start().ready()
    assert run(api, grants.sid, 'echo "it is $GITHUB_TOKEN"') == "it is [REDACTED_GITHUB_TOKEN]"
    grants.rotate("github", "second-token-0123456789")
    assert run(api, grants.sid, 'test "$GITHUB_TOKEN" = second-token-0123456789 && echo "new: $GITHUB_TOKEN"') == \
        "new: [REDACTED_GITHUB_TOKEN]"
    # and the old one still is no word to be said
    assert run(api, grants.sid, "echo first-token-0123456789") == "[REDACTED_GITHUB_TOKEN]"
    assert r.terminate() == 0
    for secret in ("first-token-0123456789", "second-token-0123456789"):
        assert secret not in r.output()


def test_a_secret_in_pieces_is_masked_too(api, runners, grants):
    grants.add("github", "github-token-0123456789")
    r = runners(api, grants.sid, **grants.env()).start().ready()
    said = run(api, grants.sid,
               'printf %s "$GITHUB_TOKEN" | head -c 9; printf %s "$GITHUB_TOKEN" | tail -c +10; echo .')
    assert said == "[REDACTED_GITHUB_TOKEN]."
    assert r.terminate() == 0


def test_git_answers_for_the_credentials_own_host_only(api, runners, grants):
    """A lookalike host gets nothing, nor does plain http."""
    grants.add("gitlab", "gitlab-token-0123456789", url="https://git.example.org:8443")
    r = runners(api, grants.sid, **grants.env()).start().ready()
    ask = ('printf "protocol=%s\\nhost=%s\\n\\n" {} {} | GIT_ASKPASS=true GIT_TERMINAL_PROMPT=0 git credential fill '
           '2>/dev/null | grep "^username=oauth2" || echo nothing')
    hosts = [("https", "git.example.org:8443", "username=oauth2"), ("https", "git.example.org", "nothing"),
             ("http", "git.example.org:8443", "nothing"), ("https", "git.example.org.evil.example:8443", "nothing"),
             ("https", "gitlab.com", "nothing")]
    for protocol, host, answer in hosts:
        assert run(api, grants.sid, ask.format(protocol, host)) == answer, host
    assert r.terminate() == 0


def test_commits_are_made_in_the_name_of_the_account(api, runners, grants):
    grants.add("github", "github-token-0123456789", email="robot@corp.net")
    r = runners(api, grants.sid, **grants.env()).start().ready()
    said = run(api, grants.sid, "git init -q . && git commit -q --allow-empty -m x && git log --format='%an <%ae>'")
    assert said.strip() == "Ambient Code Bot <robot@corp.net>"
    assert r.terminate() == 0


def test_one_that_is_refused_does_not_stop_the_others(api, runners, grants):
    """A 403 of one credential is told once; the turn runs."""
    grants.add("github", "github-token-0123456789")
    foreign = api.call("POST", "/credentials", {"name": "x", "provider": "gitlab", "token": "foreign-0123456789"})["id"]
    grants.bound["gitlab"] = foreign
    r = runners(api, grants.sid, **grants.env()).start().ready()
    for _ in range(2):
        assert run(api, grants.sid, 'test -n "$GITHUB_TOKEN" && test -z "$GITLAB_TOKEN" && echo fine') == "fine"
    notices = [n for n in api.payloads(grants.sid, "system") if "credential" in n]
    assert len(notices) == 1 and "gitlab" in notices[0]
    assert r.terminate() == 0


def test_the_token_goes_to_no_foreign_host(api, runners, grants):
    grants.add("github", "github-token-0123456789")
    r = runners(api, grants.sid, **grants.env(BACKEND_API_URL="http://evil.example")).start().ready()
    assert run(api, grants.sid, 'test -z "$GITHUB_TOKEN" && echo without') == "without"
    assert any("BACKEND_API_URL" in n for n in api.payloads(grants.sid, "system"))
    assert r.terminate() == 0


def test_a_renewed_token_file_is_read_again(api, runners, grants, tmp_path):
    """R16: 401 with the old one, then the file."""
    grants.add("github", "github-token-0123456789")
    path = tmp_path / "bot-token"
    path.write_text(grants.token())
    env = {**grants.env(), "BOT_TOKEN": None, "BOT_TOKEN_FILE": str(path)}
    r = runners(api, grants.sid, **env).start().ready()
    assert run(api, grants.sid, 'test -n "$GITHUB_TOKEN" && echo with') == "with"
    fresh = tmp_path / "fresh"
    fresh.write_text(grants.token())
    os.replace(fresh, path)
    grants.rotate("github", "second-token-0123456789")
    assert run(api, grants.sid, 'test "$GITHUB_TOKEN" = second-token-0123456789 && echo new') == "new"
    # the agent itself cannot open the file, where the kernel lets us say so
    said = run(api, grants.sid, f"cat {path} 2>/dev/null | wc -c; echo")
    assert said.split()[0] in ("0", str(len(path.read_text())))
    assert r.terminate() == 0


class Host(http.server.BaseHTTPRequestHandler):
    """A git host that has nothing, and notes who asks."""

    def do_GET(self):
        self.server.seen.append(self.headers.get("Authorization"))
        if not self.headers.get("Authorization"):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        else:
            self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def git_host(tmp_path):
    """Over TLS, with a certificate that git is told to trust."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509",
                    "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key),
                    "-out", str(cert)], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.seen, server.cert = [], str(cert)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_repositories_of_the_start_are_cloned_with_them(api, runners, grants, git_host):
    """The clone waits for the credentials; the host sees the token, and the session's log does not."""
    port = git_host.server_address[1]
    grants.add("gitlab", "gitlab-token-0123456789", url=f"https://localhost:{port}")
    env = grants.env(REPOS_JSON=json.dumps([{"url": f"https://localhost:{port}/x.git"}]),
                     GIT_SSL_CAINFO=git_host.cert)
    r = runners(api, grants.sid, **env).start().ready()
    assert run(api, grants.sid, "echo there") == "there"
    wanted = "Basic " + base64.b64encode(b"oauth2:gitlab-token-0123456789").decode()
    assert None in git_host.seen and wanted in git_host.seen, git_host.seen
    assert r.terminate() == 0
    assert "gitlab-token" not in json.dumps(api.messages(grants.sid)) + r.output()
