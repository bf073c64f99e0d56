"""The control plane is killed at any moment, its requests get lost, refused, and done without an answer, while
sessions are made, started, stopped and deleted, and their pods come, run and end. Whatever the order, all of it
converges: one pod for each session that runs, none for others, nothing of what is gone, no run started twice.

AMBIENT_FUZZ_SEED repeats a run as far as real processes can, AMBIENT_FUZZ_SECONDS makes it longer."""
import http.client
import json
import os
import random
import signal
import ssl
import threading
import time

import pytest

from api_support import wait_for
from cluster_support import SYSTEM, running, terminated
from kube_front import Proxy
from kube_plane import Plane

SECONDS = float(os.environ.get("AMBIENT_FUZZ_SECONDS", "10"))
FAULTS = {"drop": 0.02, "lose": 0.03, "429": 0.02, "500": 0.03}
SESSIONS = 8
KINDS = {"pods": "api/v1", "services": "api/v1", "serviceaccounts": "api/v1", "secrets": "api/v1",
         "configmaps": "api/v1", "rolebindings": "apis/rbac.authorization.k8s.io/v1",
         "networkpolicies": "apis/networking.k8s.io/v1"}
SESSION, RUN = "ambient-code.io/session-id", "ambient-code.io/run"
TERMINAL = ("Completed", "Failed", "Stopped")
PATIENT = {"LEASE_DURATION": "2s", "POD_TTL": "1s", "ORPHAN_YOUNG": "1s", "ORPHAN_CONFIRM": "1s",
           "ORPHAN_SWEEP_FIRST": "1s", "ORPHAN_SWEEP": "2s", "KUBE_API_QPS": "500"}


class Admin:
    """Sees and does everything, past the proxy."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.tls = ssl.create_default_context(cafile=cluster.directory / "ca.crt")
        self.tls.load_cert_chain(cluster.directory / "admin.crt", cluster.directory / "admin.key")
        self.connection = self.connect()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.cluster.ports[2], context=self.tls, timeout=60)

    def call(self, method, path, body=None, kind="application/json"):
        self.connection.request(method, "/" + path, json.dumps(body) if body else None, {"Content-Type": kind})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def list(self, kind, ns):
        return self.call("GET", f"{KINDS[kind]}/namespaces/{ns}/{kind}?labelSelector={SESSION}")[1]["items"]

    def set_status(self, pod, status):
        meta = pod["metadata"]
        self.call("PATCH", f"api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status", {"status": status},
                  "application/merge-patch+json")

    def finish(self, pod):
        meta = pod["metadata"]
        self.call("DELETE", f"api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}",
                  {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})


class Births(threading.Thread):
    """Every pod that was ever made in a namespace: {(session, run): {uid}}."""

    def __init__(self, admin, ns):
        super().__init__(daemon=True)
        self.seen, self.connection = {}, admin.connect()
        self.connection.timeout = None
        self.connection.request("GET", f"/api/v1/namespaces/{ns}/pods?watch=true&resourceVersion=0")

    def run(self):
        try:
            for line in self.connection.getresponse():
                meta = json.loads(line)["object"]["metadata"]
                if SESSION in meta.get("labels", {}):
                    key = meta["labels"][SESSION], meta["annotations"][RUN]
                    self.seen.setdefault(key, set()).add(meta["uid"])
        except (OSError, ValueError, AttributeError):
            pass  # the cluster ends

    def check(self):
        twice = {key: uids for key, uids in self.seen.items() if len(uids) > 1}
        assert not twice, twice


class World:
    def __init__(self, plane, admin, proxy, seed):
        self.plane, self.admin, self.proxy, self.random = plane, admin, proxy, random.Random(seed)
        self.sessions, self.kills, self.ending = [], 0, False

    # ---- users

    def user(self):
        what = self.random.random()
        if what < 0.3 and len(self.sessions) < SESSIONS:
            self.sessions.append(self.plane.session())
            return
        if not self.sessions:
            return
        sid = self.random.choice(self.sessions)
        if what < 0.5:
            self.plane.client.call("POST", f"/sessions/{sid}/stop")
        elif what < 0.85:
            self.plane.client.call("POST", f"/sessions/{sid}/start")
        else:
            self.plane.client.call("DELETE", f"/sessions/{sid}")
            self.sessions.remove(sid)

    # ---- the kubelet

    def kubelet(self):
        for pod in self.admin.list("pods", self.plane.project):
            phase, chance = pod["status"].get("phase"), 1.0 if self.ending else self.random.random()
            if pod["metadata"].get("deletionTimestamp"):
                if chance > 0.4:
                    self.admin.finish(pod)
            elif phase == "Pending" and chance > 0.3:
                self.admin.set_status(pod, running())
            elif phase == "Running" and chance < 0.15:
                self.admin.set_status(pod, terminated(self.random.choice((0, 0, 3))))

    # ---- death

    def death(self):
        cp = self.plane.cp
        if self.random.random() < 0.2:
            cp.process.send_signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(0.1, 4.0))  # longer than the lease, sometimes
            cp.process.send_signal(signal.SIGCONT)
            return
        cp.kill()
        self.kills += 1
        cp.start()

    def live(self, seconds):
        end = time.monotonic() + seconds
        self.proxy.faults = dict(FAULTS)
        next_user, next_death = 0.0, time.monotonic() + self.random.uniform(1.0, 4.0)
        while time.monotonic() < end:
            self.kubelet()
            if time.monotonic() > next_user:
                self.user()
                next_user = time.monotonic() + self.random.uniform(0.02, 0.3)
            if time.monotonic() > next_death:
                self.death()
                next_death = time.monotonic() + self.random.uniform(0.2, 6.0)

    # ---- the end

    def wrong(self):
        """What is not as it should be; empty at the end."""
        self.kubelet()
        found, want = [], {sid: self.plane.get(sid) for sid in self.sessions}
        objects = {kind: self.admin.list(kind, self.plane.project) for kind in KINDS}
        for kind, items in objects.items():
            found += [(kind, o["metadata"]["name"]) for o in items if o["metadata"]["labels"][SESSION] not in want]
        for sid, session in want.items():
            phase, run = session.get("phase"), str(session.get("sdk_restart_count") or 0)
            pods = [p for p in objects["pods"] if p["metadata"]["labels"][SESSION] == sid]
            if phase not in (*TERMINAL, "Running"):
                found.append((sid, phase))
            elif phase == "Running" and [p["metadata"]["annotations"][RUN] for p in pods
                                         if p["status"]["phase"] == "Running"] != [run]:
                found.append((sid, phase, "pods", len(pods)))
            elif phase in TERMINAL and pods:
                found.append((sid, phase, "a pod is left"))
        return found

    def converge(self):
        self.ending, self.proxy.faults = True, {}
        last = []

        def right():
            last[:] = self.wrong()
            return not last
        try:
            wait_for(right, "all of it to converge", 120)
        except AssertionError as e:
            raise AssertionError(f"{e}: {last}\n{self.plane.cp.log()[-8000:]}") from None


@pytest.fixture
def make_world(cluster, kubeconfig, tmp_path):
    worlds = []

    def make(seed, **env):
        proxy = Proxy(cluster, seed).start()
        plane = Plane(cluster, tmp_path, proxy.kubeconfig(tmp_path, cluster.token(SYSTEM, "ambient-control-plane")),
                      **{**PATIENT, **env})
        worlds.append((plane, proxy))
        return World(plane, Admin(cluster), proxy, seed)
    yield make
    for plane, proxy in worlds:
        proxy.faults = {}
        plane.close()
        proxy.stop()


def test_killed_at_any_moment(make_world):
    seed = int(os.environ.get("AMBIENT_FUZZ_SEED") or random.randrange(1 << 30))
    print(f"AMBIENT_FUZZ_SEED={seed}")
    world = make_world(seed)
    births = Births(world.admin, world.plane.project)
    births.start()
    world.live(SECONDS)
    world.converge()
    births.check()
    assert births.seen, "something was started"
    writes = [r for r in world.proxy.log if r.verb == "create" and r.kind == "pods" and r.code == 201]
    print(f"{world.kills} kills, {len(world.proxy.log)} requests, {len(births.seen)} runs, {len(writes)} answered")
