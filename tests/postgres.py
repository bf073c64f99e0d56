#!/usr/bin/python3
"""A PostgreSQL server for tests: its own directory, a Unix socket only, ended by process id.

As a module: Postgres(directory).start(). As a program: postgres.py COMMAND ... runs the command with the server's URL
in AMBIENT_TEST_POSTGRES; it exits with 77, after saying why, where PostgreSQL is not installed.
"""
import contextlib
import ctypes
import glob
import itertools
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

_names = itertools.count()


def bindir():
    """The newest PostgreSQL of this machine, or None."""
    found = [pathlib.Path(p).parent for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    if found:
        return max(found, key=lambda p: float(p.parent.name))
    initdb = shutil.which("initdb")
    return pathlib.Path(initdb).resolve().parent if initdb else None


def missing():
    """Why there is no PostgreSQL for tests; None when there is."""
    return None if bindir() else "PostgreSQL is not installed (scripts/deps.sh test)"


def _account():
    """PostgreSQL refuses to run as root: its own account, else nobody."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("no account to run PostgreSQL as")


class Postgres:
    def __init__(self, directory=None, settings=()):
        self.root = pathlib.Path(directory or tempfile.mkdtemp(prefix="ambient-pg-", dir="/tmp"))
        self.data, self.log = self.root / "data", self.root / "postgres.log"
        self.user = _account() if os.geteuid() == 0 else None
        self.settings = {"listen_addresses": "", "unix_socket_directories": str(self.root), "fsync": "off",
                         "max_connections": "100", "log_min_messages": "warning", "jit": "off",
                         "autovacuum_naptime": "60", **dict(settings)}
        self.process = None

    def _as_user(self):
        """In the child: another account, and an end together with the test."""
        if self.user:
            os.setgroups([])
            os.setgid(self.user.pw_gid)
            os.setuid(self.user.pw_uid)
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG, after setuid, which clears it

    def run(self, program, *args, **kw):
        """One of PostgreSQL's programs; its output."""
        return subprocess.run([str(bindir() / program), *args], cwd="/", preexec_fn=self._as_user, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw).stdout

    def start(self):
        if not self.data.exists():
            self.root.mkdir(exist_ok=True)
            if self.user:
                os.chown(self.root, self.user.pw_uid, self.user.pw_gid)
            self.root.chmod(0o755)
            self.run("initdb", "-D", str(self.data), "-U", "ambient", "-A", "trust", "-E", "UTF8", "--locale=C",
                      "--no-sync", "--no-instructions")
        with open(self.log, "ab") as log:
            options = [word for key, value in self.settings.items() for word in ("-c", f"{key}={value}")]
            self.process = subprocess.Popen([str(bindir() / "postgres"), "-D", str(self.data), *options], cwd="/",
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=self._as_user, start_new_session=True)
        self._wait()
        return self

    def _wait(self):
        end = time.monotonic() + 60
        while True:
            ready = subprocess.run([str(bindir() / "pg_isready"), "-q", "-h", str(self.root), "-U", "ambient"])
            if ready.returncode == 0:
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("PostgreSQL does not start:\n" + self.log.read_text(errors="replace")[-4000:])
            time.sleep(0.02)

    def stop(self, how=signal.SIGINT):
        """SIGINT: connections are cut, and nothing is left to recover."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def _children(self):
        for stat in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError):
                with open(stat, encoding="ascii", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    yield int(stat.split("/")[2])

    def kill(self):
        """kill -9 of the server and of its children, as when a machine dies."""
        self.process.send_signal(signal.SIGSTOP)  # from here on it has no new ones
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        pids = list(self._children())
        for pid in [self.process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(60)
        end = time.monotonic() + 60
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            if time.monotonic() > end:
                raise RuntimeError("PostgreSQL's processes do not end")
            time.sleep(0.005)

    def remove(self):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, database="postgres"):
        return f"postgresql://ambient@/{database}?host={self.root}"

    def sql(self, text, database="postgres"):
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.root), "-U", "ambient",
                         "-d", database, "-c", text).strip()

    def database(self):
        """A new, empty one; returns its name."""
        name = f"db{next(_names)}"
        self.sql(f"CREATE DATABASE {name}")
        return name


@contextlib.contextmanager
def running(**kw):
    server = Postgres(**kw)
    try:
        yield server.start()
    finally:
        server.remove()


def main():
    if missing():
        print(missing())
        return 77
    with running() as server:
        return subprocess.run(sys.argv[1:], env={**os.environ, "AMBIENT_TEST_POSTGRES": server.url()}).returncode


if __name__ == "__main__":
    sys.exit(main())
