"""acpctl as tests start it: once, following something, on a terminal, against a server that gives one answer."""
import http.client
import json
import os
import pty
import select
import subprocess
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from platform_support import BIN, DEADLINE, wait_until


class Cli:
    """acpctl with a configuration of its own. The token must not be seen in anything that it prints."""

    def __init__(self, env, config, token):
        self.env, self.config, self.token = dict(env, AMBIENT_CONFIG=config), config, token

    def argv(self, *words):
        return [os.path.join(BIN, "acpctl"), *words]

    def run(self, *words, code=0, stdin="", env=None, secret=False):
        done = subprocess.run(self.argv(*words), env={**self.env, **(env or {})}, input=stdin, capture_output=True,
                              text=True, timeout=DEADLINE)
        assert code is None or done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert secret or (self.token not in done.stdout and self.token not in done.stderr)
        return done

    def out(self, *words, **kw):
        """Standard output of a command that has nothing to say on standard error."""
        done = self.run(*words, **kw)
        assert done.stderr == ""
        return done.stdout

    def json(self, *words, **kw):
        return json.loads(self.run(*words, "-o", "json", **kw).stdout)

    def fails(self, code, *words, **kw):
        """The one line of an error, without its 'Error: '."""
        done = self.run(*words, code=code, **kw)
        assert done.stderr.startswith("Error: ") and done.stderr.endswith("\n")
        return done.stderr[len("Error: "):-1]

    def start(self, *words):
        return Running(self, words)

    def file(self):
        with open(self.config) as f:
            return json.load(f)

    def write(self, members):
        with open(self.config, "w") as f:
            json.dump(members, f)
        os.chmod(self.config, 0o600)


class Running:
    """A command that follows something; its lines are read as they come."""

    def __init__(self, cli, words):
        self.proc = subprocess.Popen(cli.argv(*words), env=cli.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(iter(self.proc.stdout.readline, "")))
        self.reader.start()

    def text(self):
        return "".join(self.lines)

    def wait_for(self, what):
        wait_until(f"{what!r} in the output", lambda: what in self.text() or self.proc.poll() is not None)
        assert what in self.text(), self.text() + self.proc.stderr.read()

    def end(self, sig=None):
        """(exit status, standard output, standard error)"""
        if sig:
            self.proc.send_signal(sig)
        status = self.proc.wait(DEADLINE)
        self.reader.join()
        with self.proc.stderr as err, self.proc.stdout:
            return status, self.text(), err.read()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        if self.proc.poll() is None:
            self.proc.kill()
            self.end()


def on_terminal(cli, *words, answer=""):
    """Exit status and what a terminal of 80 columns received. The answer is typed when a prompt has been shown."""
    master, slave = pty.openpty()
    proc = subprocess.Popen(cli.argv(*words), env=dict(cli.env, TERM="xterm"), stdin=slave, stdout=slave, stderr=slave,
                            start_new_session=True)
    os.close(slave)
    data = b""
    try:
        while select.select([master], [], [], DEADLINE)[0] and (chunk := os.read(master, 65536)):
            data += chunk
            if answer and data.endswith(b": "):
                os.write(master, answer.encode())
                answer = ""
    except OSError:  # the other side has been closed
        pass
    os.close(master)
    return proc.wait(DEADLINE), data.decode(errors="replace").replace("\r\n", "\n")


class Stub(ThreadingHTTPServer):
    """A server that gives one answer to everything."""
    daemon_threads = True

    def __init__(self, status, body, content_type="application/json"):
        self.answer = status, body.encode(), content_type
        super().__init__(("127.0.0.1", 0), StubHandler)
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *ignored):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class StubHandler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        status, body, content_type = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Proxy(ThreadingHTTPServer):
    """Passes requests on and remembers them: (method, path)."""
    daemon_threads = True

    def __init__(self, url):
        self.target = urllib.parse.urlsplit(url)
        self.seen = []
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *ignored):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def writes(self):
        return [(m, p) for m, p in self.seen if m != "GET"]


class ProxyHandler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def forward(self):
        self.server.seen.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        target = http.client.HTTPConnection(self.server.target.hostname, self.server.target.port, timeout=DEADLINE)
        target.request(self.command, self.path, body, dict(self.headers))
        answer = target.getresponse()
        data = answer.read()
        target.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = forward
