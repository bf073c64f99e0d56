"""An API server and control planes in MODE=kube, each under its own ServiceAccount with the rights of deploy/."""
import itertools
import json
import os
import pathlib
import urllib.request

import plane_support
from api_support import DEADLINE, ApiServer, free_port, wait_for
from cluster_support import ROOT, SYSTEM, running
from plane_support import ADMIN, TOKEN

numbers = itertools.count(1)


def install(cluster):
    """What an operator applies: the namespace and our rights, from deploy/."""
    cluster.kubectl("apply", "-f", ROOT / "deploy/base/namespace.yaml")
    cluster.kubectl("apply", "-n", SYSTEM, "-f", ROOT / "deploy/base/rbac.yaml")
    token = cluster.token(SYSTEM, "ambient-control-plane")
    return cluster.write_kubeconfig("control-plane", {"token": token}, SYSTEM)


class ControlPlane(plane_support.ControlPlane):
    def __init__(self, directory, api, kubeconfig, name="cp", **env):
        super().__init__(directory, api)
        self.log_path, self.ports_path = self.directory / f"{name}.log", self.directory / f"{name}.json"
        self.env = {
            "MODE": "kube", "AMBIENT_API_TOKEN": TOKEN, "KUBECONFIG": str(kubeconfig), "LEADER_ELECT": "true",
            "AMBIENT_API_SERVER_URL": f"http://127.0.0.1:{api.ports['http']}", "POD_NAME": name,
            "AMBIENT_GRPC_SERVER_ADDR": f"127.0.0.1:{api.ports['grpc']}", "CP_RUNTIME_NAMESPACE": SYSTEM,
            "CP_METRICS_ADDR": "127.0.0.1:0", "CP_TOKEN_LISTEN_ADDR": "localhost:0", "LOCAL_PROXY_ADDR": "off",
            "LOG_LEVEL": "debug", "HOME": "/nonexistent", **env}

    def wait_token_port(self):
        """The key pair comes from the cluster, so the endpoint is there a little later."""
        wait_for(lambda: "token" in json.loads(self.ports_path.read_text()), "the token endpoint")
        self.ports = json.loads(self.ports_path.read_text())

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['metrics']}/metrics", timeout=DEADLINE) as answer:
            return answer.read().decode()

    def leads(self):
        return '"leading"' in self.log().split('"control plane started"')[-1]


class Plane:
    def __init__(self, cluster, directory, kubeconfig, api_flags=(), **env):
        self.cluster, self.directory, self.kubeconfig = cluster, pathlib.Path(directory), kubeconfig
        ports = [f"--{name}-bindaddress=127.0.0.1:{free_port()}" for name in ("api-server", "grpc-server")]
        # With authorization on: the control plane has its static token and no more rights than that holds.
        self.api = ApiServer(directory, ["--enable-jwt=false", "--enable-authz", *ports, *api_flags], {
            "AMBIENT_API_TOKEN": TOKEN, "AMBIENT_ADMIN_TOKEN": ADMIN}).start()
        self.env = env
        self.client = self.api.client(ADMIN)
        self.project = f"p{os.getpid() % 100000}-{next(numbers)}"
        self.client.project(self.project)
        self.others = []
        self.cp = self.control_plane("cp")

    def control_plane(self, name, **env):
        made = ControlPlane(self.directory, self.api, self.kubeconfig, name, **{**self.env, **env}).start()
        self.others.append(made)
        return made

    def close(self):
        try:
            for cp in self.others:
                cp.stop()
        finally:
            self.client.close()
            self.api.stop()
            self.cluster.kubectl("delete", "pods", "-l", "ambient-code.io/managed=true", "-n", self.project,
                                 "--grace-period=0", "--force", "--ignore-not-found")

    # ---- sessions

    def session(self, prompt="do it", **fields):
        return self.client.session(**{"project_id": self.project, "prompt": prompt, **fields})["id"]

    def get(self, session):
        return self.client.ok("GET", f"/sessions/{session}")

    def phase(self, session):
        return self.get(session).get("phase")

    def wait_phase(self, session, *phases, timeout=DEADLINE):
        try:
            return wait_for(lambda: self.phase(session) in phases and self.get(session), f"{session} in {phases}",
                            timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}: it is {self.get(session)}\n{self.cp.log()[-6000:]}") from None

    def condition(self, session, kind):
        for c in json.loads(self.get(session).get("conditions") or "[]"):
            if c["type"] == kind:
                return c
        return None

    # ---- pods

    def name(self, session, suffix="-runner"):
        return f"session-{session.lower()[:40]}{suffix}"

    def pod(self, session):
        return self.cluster.get("pod", self.name(session), self.project)

    def wait_pod(self, session, check=lambda pod: True):
        def look():
            pod = self.pod(session)
            return pod if pod and check(pod) else None
        try:
            return wait_for(look, f"the pod of {session}")
        except AssertionError as e:
            state = f"{self.pod(session)}; {self.get(session)}\n{self.cp.log()[-6000:]}"
            raise AssertionError(f"{e}: it is {state}") from None

    def set_status(self, session, status):
        self.cluster.patch_status(self.project, self.name(session), status)

    def start_running(self, **fields):
        """A session whose pod runs on a node, as its kubelet would say."""
        sid = self.session(**fields)
        self.wait_pod(sid)
        self.cluster.bind(self.project, self.name(sid))
        self.set_status(sid, running())
        self.wait_phase(sid, "Running")
        return sid

    def finish(self, session):
        self.cluster.finish(self.project, self.name(session))

    def events(self, session):
        return {e["reason"] for e in self.cluster.get("events", namespace=self.project)
                if e["involvedObject"]["name"] == self.name(session)}
