"""SIGKILL of control plane, API server and shims at random while 50 sessions start, run and stop: at the end every
session is in the right phase, no process is left, and no run was started twice."""
import collections
import http.client
import os
import random
import signal
import threading
import time

from api_support import Client, wait_for
from plane_support import TERMINAL, ADMIN

SESSIONS = 50
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 32)))
KILLS = 24
GONE = (http.client.HTTPException, ConnectionError, TimeoutError)


class User:
    """Does with some sessions what users do, and remembers what the server has acknowledged."""

    def __init__(self, number, port, sessions, rng, stopped):
        self.client = Client(port, ADMIN)
        self.sessions, self.rng, self.stopped = sessions, rng, stopped
        self.wanted = {}
        self.thread = threading.Thread(target=self.run, name=f"user-{number}")

    def call(self, method, path, body=None, headers=None):
        """Again and again until the server has answered. `lost`: an earlier try may have been done all the same."""
        lost = False
        while True:
            try:
                answer = self.client.call(method, path, body, headers=headers)
                if answer.status < 500:
                    return answer, lost
            except GONE:
                self.client.close()
            lost = True
            time.sleep(0.05)  # between two tries at a server that is being started again

    def create(self, name):
        body = {"name": name, "project_id": "demo", "prompt": "do it"}
        answer, _ = self.call("POST", "/sessions", body, {"Idempotency-Key": name})
        assert answer.status == 201, answer.body
        sid = answer.json()["id"]
        self.wanted[sid] = "end"

    def act(self, sid):
        verb = self.rng.choice(("start", "stop", "stop", "look"))
        if verb == "look":
            self.call("GET", f"/sessions/{sid}")
            return
        answer, lost = self.call("POST", f"/sessions/{sid}/{verb}")
        if answer.status == 200:
            self.wanted[sid] = "stop" if verb == "stop" else "end"
            return
        assert answer.status == 409, answer.body
        if lost:
            self.wanted[sid] = "any"

    def run(self):
        for name in self.sessions:
            self.create(name)
        while not self.stopped.is_set():
            self.act(self.rng.choice(list(self.wanted)))
            self.stopped.wait(self.rng.uniform(0, 0.4))


def kill_a_shim(plane, rng, killed):
    states = plane.cp.states()
    if not states:
        return
    state = rng.choice(states)
    try:
        os.kill(state["shim_pid"], signal.SIGKILL)
        killed.add(state["pid"])
    except ProcessLookupError:
        pass


def wreak(plane, rng, killed):
    """Kills something, and starts it again after a moment if nobody else does."""
    what = rng.choice(("control plane", "API server", "shim", "shim", "both"))
    if what in ("control plane", "both"):
        plane.cp.kill()
    if what in ("API server", "both"):
        plane.api.kill()
    if what == "shim":
        kill_a_shim(plane, rng, killed)
    time.sleep(rng.uniform(0, 0.5))  # how long it stays away is part of the chaos
    if what in ("API server", "both"):
        plane.api.start()
    if what in ("control plane", "both"):
        plane.cp.start()


def test_chaos(make_plane, tmp_path):
    print("CHAOS_SEED =", SEED)
    seen = tmp_path / "seen"
    seen.mkdir()
    rng, starts = random.Random(SEED), seen / "starts"
    plane = make_plane(f"--starts {starts} --after 1000 --random --orphan", LOCAL_STOP_GRACE="3s",
                       LOCAL_SANDBOX_WRITE=str(seen))
    done, killed = threading.Event(), set()
    names = [f"session-{n}" for n in range(SESSIONS)]
    users = [User(n, plane.api.ports["http"], names[n::5], random.Random(rng.random()), done) for n in range(5)]
    for user in users:
        user.thread.start()
    for _ in range(KILLS):
        wreak(plane, rng, killed)
        time.sleep(rng.uniform(0.1, 0.6))
    done.set()
    for user in users:
        user.thread.join()
    wanted = {sid: w for user in users for sid, w in user.wanted.items()}
    assert len(wanted) == SESSIONS

    sessions = {}

    def settled():
        sessions.update({sid: plane.get(sid) for sid in wanted if sessions.get(sid, {}).get("phase") not in TERMINAL})
        return all(s.get("phase") in TERMINAL for s in sessions.values())
    try:
        wait_for(settled, "every session to end", 90)
    except AssertionError as e:
        late = {sid: s for sid, s in sessions.items() if s.get("phase") not in TERMINAL}
        raise AssertionError(f"{e}: {late}\n{plane.cp.log()[-6000:]}") from None

    check_phases(plane, wanted)
    lines = [line.split() for line in starts.read_text().splitlines()]
    runs = collections.Counter((sid, run) for sid, run, _ in lines)
    assert [r for r, n in runs.items() if n != 1] == []  # none started twice
    for sid, session in sessions.items():
        assert max([int(r) for s, r in runs if s == sid], default=0) <= session.get("sdk_restart_count", 0)
        if session["phase"] == "Completed":
            assert (sid, str(session.get("sdk_restart_count", 0))) in runs
    wait_for(lambda: not plane.cp.states(), "all runs to be retired")
    left = {p: c for p, c in plane.cp.processes().items() if p != plane.cp.process.pid}
    assert left == {}, left
    print(f"{len(lines)} runs, {len(killed)} shims killed,",
          collections.Counter(s["phase"] for s in sessions.values()))


def check_phases(plane, wanted):
    """What was stopped is Stopped; what was left alone is Completed, or Failed if its shim was killed."""
    for sid, want in wanted.items():
        session = plane.get(sid)
        if want == "stop":
            assert session["phase"] == "Stopped", session
            continue
        if want == "any" and session["phase"] == "Stopped":
            continue
        assert session["phase"] in ("Completed", "Failed"), session
        if session["phase"] == "Failed":
            assert plane.condition(sid, "Ready")["reason"] == "RunnerLost", session
