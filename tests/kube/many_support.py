"""A control plane that has thousands of sessions to look after, in front of a Kubernetes API in memory."""
import copy
import pathlib
import re
import sqlite3

from api_support import ApiServer, free_port, wait_for
from cluster_support import running
from kube_plane import ControlPlane
from plane_support import ADMIN, TOKEN
from scripted_kube import Kube

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"  # objects are named in lower case


def numbered(template, n):
    """Another id of the same form; none of these is the template's own."""
    tail = ""
    for _ in range(4):
        n, digit = divmod(n, len(DIGITS))
        tail = DIGITS[digit] + tail
    return template[:-4] + tail


def clone_rows(database, template, ids):
    """Rows like the template's, all at once: what a copy of a store that was in use looks like."""
    db = sqlite3.connect(database)
    columns = [row[1] for row in db.execute("PRAGMA table_info(sessions)")]
    wanted = ", ".join("?" if c in ("id", "project_id", "kube_cr_name") else c for c in columns)
    order = [c for c in columns if c in ("id", "project_id", "kube_cr_name")]
    with db:
        db.executemany(f"INSERT INTO sessions SELECT {wanted} FROM sessions WHERE id = ?",
                       [tuple(project if c == "project_id" else sid for c in order) + (template,)
                        for sid, project in ids])
    db.close()


class Many:
    """`n` sessions that run, in `projects` projects, and nothing left to do for them."""

    def __init__(self, directory, n, projects=10, **env):
        self.directory, self.kube = pathlib.Path(directory), Kube().start()
        ports = [f"--{name}-bindaddress=127.0.0.1:{free_port()}" for name in ("api-server", "grpc-server")]
        self.api = ApiServer(directory, ["--enable-jwt=false", "--enable-authz", *ports],
                             {"AMBIENT_API_TOKEN": TOKEN, "AMBIENT_ADMIN_TOKEN": ADMIN}).start()
        self.client = self.api.client(ADMIN)
        self.projects = [f"many-{i}" for i in range(projects)]
        for project in self.projects:
            self.client.project(project)
        self.env = {"LEASE_DURATION": "3s", "SESSION_TOKENS": "off", "KUBE_API_QPS": "500",
                    "RUNNER_TOKEN_MODE": "secret", "LOG_LEVEL": "info", **env}
        self.others = []
        self.cp = self.control_plane("cp")
        try:
            self.sessions = self.fill(n)
        except BaseException:
            self.close()
            raise

    def control_plane(self, name, **env):
        config = self.kube.kubeconfig(self.directory, name)
        self.others.append(ControlPlane(self.directory, self.api, config, name, **{**self.env, **env}).start())
        return self.others[-1]

    def start(self):
        """The control plane again, until nothing is left to do."""
        self.cp.start()
        n = len(self.sessions)
        wait_for(lambda: self.is_quiet() and sum(self.phases().values()) >= n, "all to be looked at", 120)
        return self

    def fill(self, n):
        first = self.client.session(project_id=self.projects[0], prompt="do it")["id"]
        pod = self.wait_pod(first)
        self.run(pod)
        wait_for(lambda: self.phase(first) == "Running", "the first session")
        wait_for(lambda: len(self.kube.of("namespaces")) == len(self.projects), "the namespaces")
        wait_for(self.is_quiet, "the projects")
        self.cp.kill()
        self.api.kill()
        ids = [(numbered(first, i), self.projects[i % len(self.projects)]) for i in range(n - 1)]
        clone_rows(self.api.database, first, ids)
        for kind in ("configmaps", "services", "serviceaccounts", "secrets", "pods"):
            for o in self.kube.of(kind, **{"ambient-code.io/session-id": first}):
                for sid, project in ids:
                    self.kube.add(kind, cloned(o, first, sid, project))
        self.api.start()
        return [first] + [sid for sid, _ in ids]

    def run(self, pod):
        self.kube.put("pods", {**pod, "status": running()})

    def phase(self, sid):
        return self.client.ok("GET", f"/sessions/{sid}").get("phase")

    def phases(self):
        """From the control plane's own metrics: {phase: sessions}."""
        found = re.findall(r'ambient_cp_sessions\{phase="(\w*)"\} (\d+)', self.cp.metrics())
        return {phase: int(n) for phase, n in found if int(n)}

    def pods(self, sid):
        return self.kube.of("pods", **{"ambient-code.io/session-id": sid})

    def wait_pod(self, sid):
        return wait_for(lambda: self.pods(sid), f"a pod of {sid}")[0]

    def is_quiet(self, cp=None):
        """It leads, knows everything and has nothing left to do now."""
        text = (cp or self.cp).metrics()
        busy = re.findall(r"ambient_cp_(?:queue_depth|queue_running|kube_waiting)(?:\{[^}]*\})? (\d+)", text)
        return "ambient_cp_leader 1" in text and busy and not any(map(int, busy))

    def close(self):
        try:
            for cp in self.others:
                cp.stop()
        finally:
            self.client.close()
            self.api.stop()
            self.kube.stop()


def cloned(o, first, sid, project):
    text = copy.deepcopy(o)
    meta = text["metadata"]
    for key in ("uid", "resourceVersion", "ownerReferences"):
        meta.pop(key, None)
    meta["name"] = meta["name"].replace(first.lower(), sid.lower())
    meta["namespace"] = project
    meta["labels"] = {**meta["labels"], "ambient-code.io/session-id": sid, "ambient-code.io/project-id": project}
    return text
