"""Sessions as pods of a real kubelet, carried out by our runner's image. The API server and the control plane run
beside the cluster, under a sanitizer where the others do; messages of a session are commands of a shell."""
import http.client
import json
import os
import signal

import pytest

import images
import kube_plane
from api_support import DEADLINE
from node_support import ADDRESS, wait_for
from plane_support import TERMINAL

pytestmark = pytest.mark.timeout(600)

RUNNER, SIDECAR = "localhost/ambient-runner:test", "localhost/github-mcp:test"
CONTAINER = "ambient-code-runner"
# Serves the credential that it was started with. Its own directory is all that it can write to.
SERVER = 'mkdir -p /tmp/w && echo "$GITHUB_PERSONAL_ACCESS_TOKEN" >/tmp/w/token && exec httpd -f -p 8091 -h /tmp/w'
# Of a Service without pods: the programs run beside the cluster.
OUTSIDE = [
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
     "spec": {"clusterIP": "None", "ports": [{"port": port}]}}
    for name, port in (("ambient-api-server", 8000), ("ambient-control-plane", 8080))
] + [
    {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
     "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
     "endpoints": [{"addresses": [ADDRESS]}], "ports": []}
    for name in ("ambient-api-server", "ambient-control-plane")
]


class Plane(kube_plane.Plane):
    """Says what a pod has written, where a session does not come to what is expected."""

    def __init__(self, node, *arguments, **env):
        self.node = node
        super().__init__(node.cluster, *arguments, **env)

    def pod(self, session):
        return self.cluster.ask(f"/api/v1/namespaces/{self.project}/pods/{self.name(session)}")

    def wait_pod(self, session, check=lambda pod: True):
        def look():
            pod = self.pod(session)
            return pod if pod and check(pod) else None
        return wait_for(look, f"the pod of {session}")

    def wait_phase(self, session, *phases):
        def ended():
            state = self.get(session)
            if state.get("phase") in TERMINAL and state["phase"] not in phases:
                raise AssertionError(f"it ended as {state['phase']}")
            return state.get("phase") in phases and state
        try:
            return wait_for(ended, f"{session} in {phases}")
        except AssertionError as e:
            pod = self.pod(session)
            logs = self.node.logs(pod, CONTAINER) if pod else ""
            raise AssertionError(f"{e}: it is {self.get(session)}\n{json.dumps(pod)[-6000:]}\n{logs[-4000:]}\n"
                                 f"{self.cp.log()[-4000:]}") from None


@pytest.fixture(scope="module")
def plane(node, tmp_path_factory):
    directory = tmp_path_factory.mktemp("plane")
    layers = [images.rootfs(directory / "rootfs.tar", "ambient-runner"),
              images.shell(node.programs)]
    user = {"User": "10001:10001", "WorkingDir": "/workspace"}
    node.load(images.make(RUNNER, layers, **user, Entrypoint=["/usr/bin/ambient-runner"],
                          Env=["PATH=/usr/bin:/bin", "HOME=/var/lib/ambient", "RUNNER_TYPE=shell"]))
    node.load(images.make(SIDECAR, layers, **user, Env=["PATH=/usr/bin:/bin", "CREDENTIAL_REFRESH_INTERVAL=1s"],
                          Entrypoint=["/usr/bin/ambient-runner", "credential-sidecar", "sh", "-c", SERVER]))
    kubeconfig = kube_plane.install(node.cluster)
    node.cluster.apply(*OUTSIDE, namespace=kube_plane.SYSTEM)
    service = f"ambient-api-server.{kube_plane.SYSTEM}.svc"
    made = Plane(
        node, directory, kubeconfig,
        ["--api-server-bindaddress=0.0.0.0:8000", "--grpc-server-bindaddress=0.0.0.0:9000"],
        AMBIENT_API_SERVER_URL=f"http://{service}:8000", AMBIENT_GRPC_SERVER_ADDR=f"{service}:9000",
        CP_TOKEN_LISTEN_ADDR=f"{ADDRESS}:8080", RUNNER_TOKEN_MODE="both", CP_TOKEN_REVIEW="true",
        RUNNER_IMAGE=RUNNER,
        GITHUB_MCP_IMAGE=SIDECAR, JIRA_MCP_IMAGE="localhost/nobody-has-this:1", IMAGE_TIMEOUT="2s",
        RUNNER_CPU_REQUEST="50m", RUNNER_MEMORY_REQUEST="64Mi", RUNNER_MEMORY_LIMIT="512Mi")
    yield made
    made.close()


# ---- what a session does

def said(plane, session):
    """What the agent has answered."""
    return "".join(m["payload"] for m in plane.client.messages(session) if m["event_type"] == "assistant")


def events(plane, session):
    return [json.loads(m["payload"])["event"] for m in plane.client.messages(session)
            if m["event_type"] == "lifecycle"]


def ask(plane, session, command):
    """The answer of a session that waits for messages."""
    before = len(said(plane, session))
    plane.client.push(session, f"{command}; echo done-with-it")
    wait_for(lambda: "done-with-it" in said(plane, session)[before:], f"the answer to {command}")
    return said(plane, session)[before:].split("done-with-it")[0].strip()


def start(plane, **fields):
    sid = plane.session(interactive=True, prompt="echo here I am", **fields)
    plane.wait_phase(sid, "Running")
    wait_for(lambda: "here I am" in said(plane, sid), "the first answer")
    return sid


def stop(plane, session):
    plane.client.ok("POST", f"/sessions/{session}/stop", status=200)
    plane.wait_phase(session, "Stopped")


def wait_gone(plane, session):
    wait_for(lambda: plane.pod(session) is None, "the pod to be gone")


def statuses(pod, kind="containerStatuses"):
    return {s["name"]: s for s in pod["status"].get(kind, [])}


def credential(plane, provider, token):
    made = plane.client.ok("POST", "/credentials", {"name": f"{provider} of {plane.project}", "provider": provider,
                                                    "token": token})["id"]
    binding = plane.client.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                                         "credential_id": made, "project_id": plane.project})
    return made, binding["id"]


# ---- tests

def test_a_session_to_its_end(plane):
    """As an ordinary user without rights, who cannot get any, under the runtime's own seccomp filter."""
    sid = plane.session("id -u; hostname; touch /usr/bin/x; cat /proc/self/status; echo kept >/workspace/file")
    plane.wait_phase(sid, "Completed")
    text = said(plane, sid)
    assert text.startswith(f"10001\n{plane.name(sid)}\n"), text
    assert "touch: /usr/bin/x: Permission denied" in text
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    pod = plane.wait_pod(sid, lambda p: p["status"]["phase"] == "Succeeded")
    assert pod["status"]["qosClass"] == "Burstable"
    assert statuses(pod)[CONTAINER]["restartCount"] == 0
    assert "/var/run/secrets/kubernetes.io" not in json.dumps(pod["spec"]), "no token of the cluster"
    session = plane.get(sid)
    assert session["start_time"] <= session["completion_time"]


def test_what_an_agent_sees(plane):
    """Of other sessions and of its own token: nothing."""
    start(plane)
    sid = start(plane)
    names = [line.split("=")[0] for line in ask(plane, sid, "env").splitlines()]
    assert not [name for name in names if name.startswith("SESSION_") and name != "SESSION_ID"], "links to Services"
    assert not [name for name in names if name.endswith(("TOKEN", "KEY"))], "its own"
    for path in ("/var/run/secrets/ambient/bot-token", "/var/run/secrets/ambient-identity/token", "/proc/1/environ"):
        assert "Permission denied" in ask(plane, sid, f"cat {path} 2>&1"), path
    for one in plane.client.items("/sessions", search="phase = 'Running'"):
        stop(plane, one["id"])


def test_a_command_that_fails(plane):
    sid = plane.session("exit 3")
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["message"] == "exit code 10", "that of a runner whose turn failed"


def test_limits_are_those_of_the_session(plane, node):
    sid = start(plane, resource_overrides=json.dumps({"cpu": "750m", "memory": "192Mi"}))
    pid = node.pid(statuses(plane.pod(sid))[CONTAINER]["containerID"])
    assert node.limit("memory", pid, "memory.limit_in_bytes") == 192 << 20
    quota, period = (node.limit("cpu", pid, f"cpu.cfs_{what}_us") for what in ("quota", "period"))
    assert quota / period == 0.75
    # What is too much is taken from who asks for it; the session goes on.
    assert "gone" in ask(plane, sid, "tail /dev/zero || echo gone")
    assert plane.phase(sid) == "Running"
    stop(plane, sid)


def test_the_runners_routes(plane, node):
    """Through the API server by the Service's name; others have no token for the port that they can reach."""
    sid = start(plane)
    ask(plane, sid, "echo what it made >/workspace/made.txt")
    assert plane.client.ok("GET", f"/sessions/{sid}/agui/capabilities")["framework"] == "shell"
    listed = plane.client.ok("GET", f"/sessions/{sid}/workspace")["files"]
    assert "made.txt" in [f["name"] for f in listed]
    answer = plane.client.get(f"/sessions/{sid}/workspace/made.txt")
    assert (answer.status, answer.body) == (200, b"what it made\n")
    pod = plane.pod(sid)
    for path, status in (("/capabilities", 401), ("/health", 200)):
        connection = http.client.HTTPConnection(pod["status"]["podIP"], 8001, timeout=DEADLINE)
        connection.request("GET", path)
        assert connection.getresponse().status == status, path
        connection.close()
    stop(plane, sid)


def test_a_stop_in_the_middle_of_work(plane, node):
    sid = start(plane)
    plane.client.push(sid, "sleep 1000")
    wait_for(lambda: events(plane, sid).count("run_started") == 2, "the work to begin")
    pod = plane.pod(sid)
    stop(plane, sid)
    left = plane.pod(sid)
    assert left is None or "terminated" in statuses(left)[CONTAINER]["state"], "first the runner, then the session"
    assert len([e for e in events(plane, sid) if e in ("run_finished", "run_failed")]) == 2, "asked, not killed"
    # And once more, where it was.
    plane.client.ok("POST", f"/sessions/{sid}/start", status=200)
    assert ask(plane, sid, "echo $((6 * 7))") == "42"
    assert plane.pod(sid)["metadata"]["uid"] != pod["metadata"]["uid"]
    stop(plane, sid)


def test_a_runner_that_is_killed(plane, node):
    sid = start(plane)
    os.kill(node.pid(statuses(plane.pod(sid))[CONTAINER]["containerID"]), signal.SIGKILL)
    plane.wait_phase(sid, "Failed")
    ready = plane.condition(sid, "Ready")
    assert ready["status"] == "False" and "signal 9" in ready["message"], ready
    assert statuses(plane.pod(sid))[CONTAINER]["state"]["terminated"]["exitCode"] == 137


def test_a_pod_that_somebody_deletes(plane):
    sid = start(plane)
    plane.cluster.kubectl("delete", "pod", plane.name(sid), "-n", plane.project, "--wait=false")
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] == "PodMissing", "not Completed, although the runner ended with 0"
    wait_gone(plane, sid)


def test_a_credential_that_rotates(plane, node):
    """Its sidecar starts before the runner, on a root that cannot be written, and has the new one by itself."""
    made, binding = credential(plane, "github", "first-token-0123456789")
    sid = start(plane)
    pod = plane.pod(sid)
    sidecar = statuses(pod, "initContainerStatuses")["credential-github"]
    assert sidecar["started"] and sidecar["restartCount"] == 0
    served = "wget -qO- http://localhost:8091/token"
    wait_for(lambda: ask(plane, sid, served) == "first-token-0123456789", "the first one")
    mounts = f"/proc/{node.pid(sidecar['containerID'])}/mountinfo"
    with open(mounts, encoding="utf-8") as f:
        root = next(line.split() for line in f if line.split()[4] == "/")
    assert "ro" in root[5].split(",")
    plane.client.ok("PATCH", f"/credentials/{made}", {"token": "second-token-0123456789"})
    wait_for(lambda: ask(plane, sid, served) == "second-token-0123456789", "the second one")
    sidecar = statuses(plane.pod(sid), "initContainerStatuses")["credential-github"]
    assert sidecar["restartCount"] == 0, "its program was started again, not the container"
    assert "-token-0123456789" not in node.logs(pod, "credential-github") + node.logs(pod, CONTAINER)
    stop(plane, sid)
    plane.client.ok("DELETE", f"/role_bindings/{binding}")


def test_an_image_that_nobody_has(plane):
    _, binding = credential(plane, "jira", "a-token-0123456789")
    sid = plane.session()
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] in ("ErrImagePull", "ImagePullBackOff")
    wait_gone(plane, sid)
    plane.client.ok("DELETE", f"/role_bindings/{binding}")


def test_deleted_sessions_leave_nothing(plane, node):
    sid = start(plane)
    plane.client.ok("DELETE", f"/sessions/{sid}")
    wait_gone(plane, sid)
    selector = f"ambient-code.io/session-id={sid}"
    for kind in ("pods", "services", "secrets", "serviceaccounts", "configmaps"):
        wait_for(lambda kind=kind: not plane.cluster.get(kind, namespace=plane.project, selector=selector), kind)
