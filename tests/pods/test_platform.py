"""The platform as deploy/base ships it, in pods of a real kubelet: our images on a read-only root as an ordinary user,
probes, rights, Secrets, names. Deployments are played: their pods are made from the templates as they are, except that
the database's claim, which nobody provisions here, is an emptyDir."""
import base64
import json
import os
import subprocess

import pytest
import yaml

import images
from api_support import ROOT, Client
from cluster_support import SYSTEM
from node_support import wait_for

pytestmark = pytest.mark.timeout(600)

RUNNER = "localhost/ambient-runner:latest"
PORTS = {"ambient-api-server": 8000, "ambient-control-plane": 8081}


def load_images(node, directory):
    node.load(images.make("localhost/ambient:latest", [images.rootfs(directory / "rootfs.tar")],
                          **images.config_of("Containerfile")))
    runner = images.config_of("Containerfile.runner")
    layers = [images.rootfs(directory / "runner.tar", "ambient-runner"), images.shell(node.programs)]
    node.load(images.make(RUNNER, layers, **{**runner, "Env": [*runner["Env"], "PATH=/usr/bin:/bin",
                                                              "RUNNER_TYPE=shell"]}))


def pod_of(deployment, number):
    template = deployment["spec"]["template"]
    spec = template["spec"]
    spec["volumes"] = [{"name": v["name"], "emptyDir": {}} if "persistentVolumeClaim" in v else v
                       for v in spec.get("volumes", [])]
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {**template["metadata"], "name": f"{deployment['metadata']['name']}-{number}"}}


class Platform:
    def __init__(self, node):
        self.node, self.cluster = node, node.cluster
        self.cluster.kubectl("apply", "-f", ROOT / "deploy/base/namespace.yaml")
        subprocess.run([ROOT / "deploy/secrets.sh", f"--kubeconfig={self.cluster.admin}"], check=True,
                       capture_output=True, timeout=60,
                       env={**os.environ, "PATH": f"{self.cluster.binaries}:{os.environ['PATH']}"})
        # The controller manager's part.
        authority = (self.cluster.directory / "ca.crt").read_text()
        self.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"},
                            "data": {"ca.crt": authority}}, namespace=SYSTEM)
        self.cluster.kubectl("apply", "-k", ROOT / "deploy/base")
        rendered = yaml.safe_load_all(self.cluster.kubectl("kustomize", ROOT / "deploy/base"))
        self.deployments = [o for o in rendered if o and o["kind"] == "Deployment"]
        self.cluster.apply(*(pod_of(d, n) for d in self.deployments for n in range(d["spec"]["replicas"])),
                           namespace=SYSTEM)

    def pods(self, app):
        return self.cluster.get("pods", namespace=SYSTEM, selector=f"app={app}")

    def ready(self, app):
        """Its pods, when all have passed their probes."""
        pods = self.pods(app)
        return all(s["ready"] for p in pods for s in p["status"].get("containerStatuses", [{"ready": False}])) and pods

    def wait_ready(self, app):
        try:
            return wait_for(lambda: self.ready(app), f"{app} to be ready")
        except AssertionError as e:
            logs = "\n".join(self.node.logs(p, c["name"])[-2000:] for p in self.pods(app)
                             for c in p["spec"]["containers"])
            raise AssertionError(f"{e}: {json.dumps([p['status'] for p in self.pods(app)])}\n{logs}") from None

    def logs(self, app):
        return {p["metadata"]["name"]: self.node.logs(p, "control-plane") for p in self.pods(app)}

    def client(self):
        pod = self.pods("ambient-api-server")[0]
        secret = self.cluster.get("secret", "ambient-api-server", SYSTEM)
        token = base64.b64decode(secret["data"]["admin-token"]).decode()
        return Client(PORTS["ambient-api-server"], token, host=pod["status"]["podIP"])

    # ---- sessions

    def session(self, client, **fields):
        return client.session(project_id="demo", **fields)["id"]

    def wait_phase(self, client, session, phase):
        def look():
            return client.ok("GET", f"/sessions/{session}").get("phase") == phase
        try:
            wait_for(look, f"{session} in {phase}")
        except AssertionError as e:
            logs = "\n".join(text[-3000:] for text in self.logs("ambient-control-plane").values())
            raise AssertionError(f"{e}: {client.ok('GET', f'/sessions/{session}')}\n{logs}") from None

    def leader(self):
        lease = self.cluster.get("lease", "ambient-control-plane", SYSTEM)
        return lease["spec"].get("holderIdentity", "").split("_")[0] if lease else None

    def remove(self):
        """One by one: a namespace would need its controller to go."""
        for namespace in (SYSTEM, "demo"):
            self.cluster.kubectl("delete", "pods,services,secrets,leases,deployments", "--all", "-n", namespace,
                                 "--grace-period=0", "--force", "--ignore-not-found")


@pytest.fixture(scope="module")
def platform(node, tmp_path_factory):
    load_images(node, tmp_path_factory.mktemp("images"))
    made = Platform(node)
    yield made
    made.remove()


@pytest.fixture(scope="module")
def client(platform):
    """Of an administrator, once all is up."""
    for app in PORTS:
        platform.wait_ready(app)
    made = platform.client()
    made.project("demo")
    yield made
    made.close()


def test_it_comes_up(platform):
    """Within what its probes give it, so that nothing is started again."""
    for app, count in (("ambient-api-server", 1), ("ambient-control-plane", 2)):
        pods = platform.wait_ready(app)
        assert [s["restartCount"] for p in pods for s in p["status"]["containerStatuses"]] == [0] * count


def test_a_session(platform, client):
    sid = platform.session(client, prompt="id -u; echo it works")
    platform.wait_phase(client, sid, "Completed")
    answers = [m["payload"] for m in client.messages(sid) if m["event_type"] == "assistant"]
    assert answers == ["1001\nit works"]


def test_the_leader_goes(platform, client):
    """It ends in good order, and the other one carries on."""
    sid = platform.session(client, interactive=True, prompt="echo here I am")
    platform.wait_phase(client, sid, "Running")
    leader = platform.leader()
    platform.cluster.kubectl("delete", "pod", leader, "-n", SYSTEM)
    wait_for(lambda: platform.leader() not in (leader, "", None), "another leader")
    assert client.ok("GET", f"/sessions/{sid}")["phase"] == "Running"
    listed = client.ok("GET", f"/sessions/{sid}/agui/capabilities")
    assert listed["framework"] == "shell", "from pod to pod"
    client.ok("POST", f"/sessions/{sid}/stop", status=200)
    platform.wait_phase(client, sid, "Stopped")
