#!/usr/bin/python3
"""Benchmarks: each row is one figure of ours beside a peer that ran on the same machine in the same minute.

    bench/bench.py --bin build/bin --load build/bench/bench-load [ROW ...]

Absolute numbers vary between machines; the ratio is what counts. Peers: Redis Streams with appendfsync always,
nginx serving the same bytes from a file, nghttpd as the HTTP/2 ceiling, /bin/true for the start of a process.
"""
import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))
import postgres  # noqa: E402

ROWS = []


def row(name):
    def keep(fn):
        ROWS.append((name, fn))
        return fn
    return keep


class Skip(Exception):
    pass


def need(*programs):
    for p in programs:
        if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin"):
            raise Skip(f"{p} is not installed (scripts/deps.sh bench)")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, check, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = check()
        if got:
            return got
        time.sleep(0.005)
    raise RuntimeError(f"{what}: not within {seconds} s")


def connects(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def rss(pid):
    """Resident bytes, and those of them that no other process could share."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        text = f.read()
    kib = {name: int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)) for name in ("Rss", "Private_Dirty")}
    return kib["Rss"] * 1024, kib["Private_Dirty"] * 1024


class Process:
    """A child in a group of its own, stopped by its id."""

    def __init__(self, *argv, env=None, **kw):
        self.p = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=kw.pop("stderr", subprocess.DEVNULL),
                                  env={**os.environ, **(env or {})}, **kw)
        self.pid = self.p.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.p.send_signal(signal.SIGTERM)
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


class Server(Process):
    """An api-server of its own with an empty store; db: the URL of one that `migrate` has prepared."""

    def __init__(self, bench, *flags, db=None):
        self.dir = tempfile.mkdtemp(dir=bench.tmp)
        token = os.path.join(self.dir, "token")
        self.token = "bench-token-0123456789abcdef"
        with open(token, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(self.token)
        ports = os.path.join(self.dir, "ports.json")
        super().__init__(bench.bin("ambient-api-server"), "serve", f"--db-url={db or f'sqlite:{self.dir}/a.db'}",
                         "--api-server-bindaddress=127.0.0.1:0", "--grpc-server-bindaddress=127.0.0.1:0",
                         "--metrics-server-bindaddress=", "--health-check-server-bindaddress=", "--enable-jwt=false",
                         f"--admin-token-file={token}", f"--ports-file={ports}", *flags)
        wait_for("api-server", lambda: os.path.exists(ports) or self.p.poll() is not None)
        with open(ports) as f:
            p = json.load(f)
        self.http, self.grpc = f"http://127.0.0.1:{p['http']}", f"127.0.0.1:{p['grpc']}"

    def call(self, method, path, body=None):
        req = urllib.request.Request(self.http + "/api/ambient/v1" + path, method=method,
                                     data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + self.token})
        with urllib.request.urlopen(req, timeout=30) as r:
            return json.load(r)

    def session(self):
        self.call("POST", "/projects", {"name": "bench"})
        return self.call("POST", "/sessions", {"name": "s", "project_id": "bench"})["id"]


class Bench:
    def __init__(self, args, tmp):
        self.args, self.tmp = args, tmp

    def bin(self, name):
        return os.path.join(self.args.bin, name)

    def load(self, server, mode, session, **opts):
        argv = [self.args.load, mode, f"--addr={server.grpc}", f"--session={session}"]
        argv += [f"--{k.replace('_', '-')}={v}" for k, v in opts.items()]
        out = subprocess.run(argv, env={**os.environ, "BENCH_TOKEN": server.token}, capture_output=True, text=True,
                             timeout=300)
        if out.returncode:
            raise RuntimeError(out.stderr.strip() or f"load {mode}: exit {out.returncode}")
        return json.loads(out.stdout)


def redis_xadd(b, clients, n):
    need("redis-server", "redis-benchmark")
    d, port = tempfile.mkdtemp(dir=b.tmp), free_port()
    with Process("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", d, "--appendonly", "yes",
                 "--appendfsync", "always", "--save", ""):
        wait_for("redis", lambda: connects(port))
        argv = ["redis-benchmark", "-p", str(port), "-c", str(clients), "-n", str(n), "--csv"]
        out = subprocess.run(argv + ["XADD", "s", "*", "m", "x" * 100], capture_output=True, text=True,
                             timeout=120).stdout
    return float(out.strip().splitlines()[-1].split(",")[1].strip('"'))


def push(b, callers, n):
    with Server(b) as s:
        sid = s.session()
        ours = b.load(s, "push", sid, callers=callers, conns=min(callers, 8), seconds=f"{b.args.seconds}s")
    return ours["per_second"], redis_xadd(b, callers, n), "messages/s", "Redis XADD, appendfsync always", 1.0


@row("push-50")
def push_50(b):
    """durable push, 50 concurrent callers"""
    return push(b, 50, 60000)


def pgbench(server, clients, seconds):
    """One plain INSERT of a row like a message's per transaction."""
    server.sql("CREATE TABLE plain (pos bigserial PRIMARY KEY, session_id text, seq bigint, payload text,"
               " created_at timestamptz DEFAULT now())")
    script = server.root / "insert.sql"
    script.write_text("INSERT INTO plain (session_id, seq, payload) VALUES ('s', 1, repeat('x', 100));\n")
    script.chmod(0o644)
    out = server.run("pgbench", "-n", "-M", "prepared", "-h", str(server.root), "-U", "ambient", "-c", str(clients),
                     "-j", "2", "-T", str(seconds), "-f", str(script), "postgres")
    return float(re.search(r"tps = ([\d.]+)", out).group(1))


def push_postgres(b, callers):
    if postgres.missing():
        raise Skip(postgres.missing())
    with postgres.running(settings={"fsync": "on"}) as server:
        url = server.url(server.database())
        subprocess.run([b.bin("ambient-api-server"), "migrate", f"--db-url={url}"], check=True, capture_output=True)
        with Server(b, db=url) as s:
            ours = b.load(s, "push", s.session(), callers=callers, conns=min(callers, 8), seconds=f"{b.args.seconds}s")
        plain = pgbench(server, callers, b.args.seconds)
    return ours["per_second"], plain, "messages/s", "pgbench, plain INSERT", 0.3


@row("push-50-postgres")
def push_50_postgres(b):
    """durable push on PostgreSQL, 50 concurrent callers"""
    return push_postgres(b, 50)


@row("push-1")
def push_1(b):
    """durable push, one caller"""
    return push(b, 1, 4000)


def nghttpd_rate(b):
    need("nghttpd", "h2load")
    d, port = tempfile.mkdtemp(dir=b.tmp), free_port()
    with open(os.path.join(d, "m"), "w") as f:
        f.write("x" * 160)
    with Process("nghttpd", "--no-tls", "-d", d, str(port)):
        wait_for("nghttpd", lambda: connects(port))
        out = subprocess.run(["h2load", "-n", "200000", "-c", "8", "-m", "100", "-t", "1",
                              f"http://127.0.0.1:{port}/m"], capture_output=True, text=True, timeout=120).stdout
    return float(re.search(r"([\d.]+) req/s", out).group(1))


def fanout(b, watchers, messages):
    with Server(b) as s:
        sid = s.session()
        r = b.load(s, "fanout", sid, watchers=watchers, conns=max(8, watchers // 200), messages=messages,
                   server_pid=s.pid)
    return r["per_server_cpu_second"], nghttpd_rate(b), "deliveries/s per core", "nghttpd responses/s", 1e6


@row("fanout-1000")
def fanout_1000(b):
    """one writer to 1,000 watch streams"""
    return fanout(b, 1000, 2000)


@row("fanout-10000")
def fanout_10000(b):
    """one writer to 10,000 watch streams"""
    return fanout(b, 10000, 300)


@row("idle-stream")
def idle_stream(b):
    """memory of an idle watch stream"""
    with Server(b) as s:
        sid = s.session()
        r = b.load(s, "idle", sid, watchers=10000, conns=50, server_pid=s.pid)
    return r["bytes_per_stream"], None, "bytes", "", -4096


def wrk_rate(url, seconds, token=None):
    need("wrk")
    argv = ["wrk", "-t1", "-c32", f"-d{seconds}s"] + (["-H", f"Authorization: Bearer {token}"] if token else []) + [url]
    out = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if bad:
        raise RuntimeError(f"{url}: {bad.group(0)}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def nginx_rate(b, body):
    need("nginx")
    d, port = tempfile.mkdtemp(dir=b.tmp), free_port()
    os.chmod(d, 0o755)
    with open(os.path.join(d, "f.json"), "wb") as f:
        f.write(body)
    conf = os.path.join(d, "nginx.conf")
    with open(conf, "w") as f:
        f.write(f"""daemon off; worker_processes 1; pid {d}/pid; error_log /dev/null; user root;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; keepalive_requests 100000000; default_type application/json;
  client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f;
  uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  server {{ listen 127.0.0.1:{port}; root {d}; }} }}""")
    with Process(shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-c", conf):
        wait_for("nginx", lambda: connects(port))
        return wrk_rate(f"http://127.0.0.1:{port}/f.json", b.args.seconds)


def rest(b, path_of, sessions):
    with Server(b) as s:
        sid = s.session()
        for i in range(sessions - 1):
            s.call("POST", "/sessions", {"name": f"s{i}", "project_id": "bench"})
        url = s.http + "/api/ambient/v1" + path_of(sid)
        req = urllib.request.Request(url, headers={"Authorization": "Bearer " + s.token})
        body = urllib.request.urlopen(req).read()
        ours = wrk_rate(url, b.args.seconds, s.token)
    return ours, nginx_rate(b, body), "requests/s", f"nginx, the same {len(body)} bytes from a file", 0.5


@row("rest-get")
def rest_get(b):
    """GET of one session"""
    return rest(b, lambda sid: f"/sessions/{sid}", 1)


@row("rest-list")
def rest_list(b):
    """GET of a list of 20 sessions"""
    return rest(b, lambda sid: "/sessions?size=20", 20)


async def ask_for(server, path, clients, seconds):
    """Clients that ask one thing after the other. Returns (milliseconds of those served, how many refused)."""
    loop, times, refused = asyncio.get_running_loop(), [], 0
    end = loop.time() + seconds
    host, port = server.http.removeprefix("http://").split(":")

    async def client(number):
        nonlocal refused
        reader, writer = await asyncio.open_connection(host, int(port))
        for turn in range(1 << 20):
            start = loop.time()
            if start >= end:
                break
            writer.write(f"GET {path}&n={number}.{turn} HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer {server.token}"
                         "\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(re.search(r"Content-Length: (\d+)", head)[1]))
            if head.split(" ")[1] == "200":
                times.append((loop.time() - start) * 1000)
            else:
                refused += 1
                await asyncio.sleep(1)  # as Retry-After says
        writer.close()

    await asyncio.gather(*(client(n) for n in range(clients)))
    return times, refused


@row("overload")
def overload(b):
    """p99 of the served when 2,000 clients ask for more than the server can, --store-max-wait=500ms"""
    with Server(b, "--store-max-wait=500ms") as s:
        s.session()
        for i in range(40):
            s.call("POST", "/sessions", {"name": f"s{i}", "project_id": "bench", "prompt": "a" * 60000})
        path = "/api/ambient/v1/sessions?size=1&search=prompt%20like%20%27" + "%25a" * 20 + "%25b%27"
        p99 = {}
        for clients in (4, 2000):
            times, refused = asyncio.run(ask_for(s, path, clients, b.args.seconds))
            p99[clients] = statistics.quantiles(times, n=100)[98]
            print(f"    {clients} clients: {len(times) / b.args.seconds:,.0f} served/s, {refused} refused, "
                  f"p99 {p99[clients]:.0f} ms")
    return p99[2000], None, "ms", "", -1000


class Platform:
    def __init__(self, b):
        self.b, self.dir = b, tempfile.mkdtemp(dir=b.tmp)
        self.env = {**os.environ, "AMBIENT_CONFIG": os.path.join(self.dir, "acpctl.json"), "AMBIENT_DATA": self.dir}

    def run(self, program, *argv):
        return subprocess.run([self.b.bin(program), *argv], env=self.env, check=True, capture_output=True,
                              text=True).stdout

    def __enter__(self):
        self.run("ambient", "up", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0")
        self.status = json.loads(self.run("ambient", "status", "-o", "json"))
        return self

    def __exit__(self, *exc):
        subprocess.run([self.b.bin("ambient"), "down"], env=self.env, capture_output=True)

    def call(self, method, path, body=None):
        token = self.run("ambient", "token").strip()
        req = urllib.request.Request(self.status["http"] + "/api/ambient/v1" + path, method=method,
                                     data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + token})
        with urllib.request.urlopen(req, timeout=30) as r:
            return json.load(r)


@row("first-message")
def first_message(b):
    """`ambient up` to the first message of a shell session"""
    times = []
    for _ in range(5):
        p = Platform(b)
        t0 = time.monotonic()
        with p:
            p.call("POST", "/projects", {"name": "demo"})
            sid = p.call("POST", "/sessions", {"name": "s", "project_id": "demo", "prompt": "echo hello",
                                               "environment_variables": '{"RUNNER_TYPE":"shell"}'})["id"]
            wait_for("first message", lambda: any(m["event_type"] == "assistant"
                                                  for m in p.call("GET", f"/sessions/{sid}/messages")))
            times.append((time.monotonic() - t0) * 1000)
    return statistics.median(times), None, "ms", "", -300


def pid_of(program, text):
    """The process of that name whose environment holds the text."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/environ", "rb") as env:
                if comm.read().strip() == program[:15] and text.encode() in env.read():
                    return int(pid)
        except OSError:
            pass
    return None


@row("idle-memory")
def idle_memory(b):
    """idle RSS beside its goal, the worst of api-server, control plane, runner"""
    env = json.dumps({"RUNNER_TYPE": "shell"})
    with Platform(b) as p:
        p.call("POST", "/projects", {"name": "demo"})
        sid = p.call("POST", "/sessions", {"name": "s", "project_id": "demo", "interactive": True,
                                           "environment_variables": env})["id"]
        runner = wait_for("runner", lambda: pid_of("ambient-runner", sid))
        wait_for("running", lambda: p.call("GET", f"/sessions/{sid}").get("phase") == "Running")
        time.sleep(1)
        pids = p.status["pids"]
        now = {"api-server": (pids["api-server"], 15), "control-plane": (pids["control-plane"], 10),
               "runner": (runner, 8)}
        used = {name: (*rss(pid), goal * 1e6) for name, (pid, goal) in now.items()}
    print("    " + ", ".join(f"{name} {all_ / 1e6:.1f} MB (goal {goal / 1e6:.0f}; {own / 1e6:.1f} of it its own)"
                             for name, (all_, own, goal) in used.items()))
    return max(all_ / goal for all_, _, goal in used.values()), None, "of the goal", "", -1


@row("acpctl-start")
def acpctl_start(b):
    """acpctl version --client, start to exit"""
    def median(*argv):
        times = []
        for _ in range(100):
            t0 = time.monotonic()
            subprocess.run(argv, stdout=subprocess.DEVNULL)
            times.append((time.monotonic() - t0) * 1000)
        return statistics.median(times)
    ours, floor = median(b.bin("acpctl"), "version", "--client"), median("/bin/true")
    print(f"    {ours:.2f} ms, of it {floor:.2f} ms for starting any process")
    return ours - floor, None, "ms above /bin/true", "", -3


def show(name, doc, result):
    """Goals: below 0 = at most that much of ours; 1,000 and more = at least that much; else at least the ratio."""
    ours, peer, unit, peer_name, goal = result
    ratio = ours / peer if peer else 0
    beside = f" | {peer_name}: {peer:,.0f} | ratio {ratio:.2f}" if peer else ""
    if goal < 0:
        wanted, reached = f"at most {-goal:,.0f}", ours <= -goal
    elif goal >= 1000:
        wanted, reached = f"{goal:,.0f}", ours >= goal
    else:
        wanted, reached = f"ratio {goal:.2f}", ratio >= goal
    print(f"{name:14} {doc}: {ours:,.2f} {unit}{beside} | goal {wanted} | {'reached' if reached else 'MISSED'}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bin", default="build/bin")
    ap.add_argument("--load", default="build/bench/bench-load")
    ap.add_argument("--seconds", type=int, default=5)
    ap.add_argument("rows", nargs="*", help=", ".join(n for n, _ in ROWS))
    args = ap.parse_args()
    args.bin, args.load = os.path.abspath(args.bin), os.path.abspath(args.load)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ambient-bench-") as tmp:
        b = Bench(args, tmp)
        for name, fn in ROWS:
            if args.rows and name not in args.rows:
                continue
            try:
                show(name, fn.__doc__, fn(b))
            except Skip as e:
                print(f"{name:14} {fn.__doc__}: not run: {e}")
            except Exception as e:  # one row must not hide the others
                failed += 1
                print(f"{name:14} {fn.__doc__}: FAILED: {e}")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
