"""A stand-in for GitHub: private repositories over HTTPS (git's own smart HTTP backend) for whoever has the token."""
import base64
import http.server
import os
import ssl
import subprocess
import threading

BACKEND = "/usr/lib/git-core/git-http-backend"


class GitHub(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, directory, token, certificate):
        """certificate: paths of certificate and key for 127.0.0.1 or localhost."""
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.context, self.root, self.token = context, str(directory), token
        self.seen = []  # (path, user name or None, whether the token was right)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        """The handshake in the thread of the connection, so that nobody can hold up the others."""
        try:
            request.settimeout(30)
            secured = self.context.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return
        super().finish_request(secured, client_address)
        secured.close()

    def handle_error(self, request, client_address):
        pass

    def stop(self):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"https://localhost:{self.server_address[1]}"

    def git(self, *argv, **kw):
        env = {**os.environ, "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t",
               "GIT_COMMITTER_EMAIL": "t@t", "GIT_CONFIG_GLOBAL": "/dev/null"}
        return subprocess.run(["git", *argv], env=env, capture_output=True, text=True, check=True, **kw).stdout

    def make(self, name, **files):
        """A repository with one commit on main; its address."""
        bare, work = os.path.join(self.root, name + ".git"), os.path.join(self.root, "work-" + name.replace("/", "-"))
        self.git("init", "-q", "--bare", "-b", "main", bare)
        self.git("-C", bare, "config", "http.receivepack", "true")
        self.git("clone", "-q", bare, work)
        for path, text in files.items():
            with open(os.path.join(work, path), "w", encoding="utf-8") as f:
                f.write(text)
        self.git("-C", work, "add", "-A")
        self.git("-C", work, "-c", "init.defaultBranch=main", "commit", "-q", "-m", "first")
        self.git("-C", work, "push", "-q", "origin", "HEAD:refs/heads/main")
        return f"{self.url}/{name}.git"

    def branches(self, name):
        return self.git("-C", os.path.join(self.root, name + ".git"), "branch", "--format=%(refname:short)").split()

    def show(self, name, what):
        return self.git("-C", os.path.join(self.root, name + ".git"), "show", what)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def allowed(self):
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        user, password = None, value
        if kind.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
        good = password == self.server.token
        self.server.seen.append((self.path.partition("?")[0], user, good))
        return good

    def refuse(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="GitHub"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def serve(self):
        data = self.body()
        if not self.allowed():
            return self.refuse()
        path, _, query = self.path.partition("?")
        env = {**os.environ, "GIT_PROJECT_ROOT": self.server.root, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
               "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "bot", "REMOTE_ADDR": "127.0.0.1",
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(data)),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        out = subprocess.run([BACKEND], input=data, env=env, capture_output=True).stdout
        head, _, answer = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        return self.wfile.write(answer)

    do_GET = do_POST = serve
