"""The life of a session as a pod: real API servers on both sides, the test as kubelet and scheduler."""
import base64

import pytest

from api_support import wait_for
from cluster_support import container, now, running, terminated, waiting


def reason(plane, sid):
    return plane.condition(sid, "Ready")["reason"]


def env_of(pod):
    return {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}


# ---- ends ----

def test_a_session_runs_and_completes(plane):
    sid = plane.session()
    pod = plane.wait_pod(sid)
    session = plane.wait_phase(sid, "Creating")
    assert session["kube_namespace"] == plane.project
    assert pod["metadata"]["labels"]["ambient-code.io/session-id"] == sid
    plane.set_status(sid, running())
    plane.wait_phase(sid, "Running")
    plane.set_status(sid, terminated(0))
    session = plane.wait_phase(sid, "Completed")
    assert session["start_time"] <= session["completion_time"]
    assert reason(plane, sid) == "Completed"
    assert plane.pod(sid), "an ended pod stays for its logs"
    assert "SessionStarting" in plane.events(sid)


@pytest.mark.parametrize("status, why, detail", [
    (terminated(3), "ProcessExited", "exit code 3"),
    (terminated(137, "OOMKilled"), "OOMKilled", "memory"),
    ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on disk"}, "Evicted", "low on disk"),
    ({**terminated(137), "reason": "DeadlineExceeded"}, "DeadlineExceeded", ""),
])
def test_how_a_runner_fails(plane, status, why, detail):
    sid = plane.start_running()
    plane.set_status(sid, status)
    plane.wait_phase(sid, "Failed")
    assert reason(plane, sid) == why
    assert detail in plane.condition(sid, "Ready")["message"]


def test_sidecars_do_not_keep_a_session_alive(plane):
    sid = plane.start_running()
    others = [container("sidecar", {"running": {"startedAt": now()}}, True)]
    plane.set_status(sid, terminated(0, phase="Running", others=others))
    plane.wait_phase(sid, "Completed")
    plane.wait_pod(sid, lambda pod: pod["metadata"].get("deletionTimestamp"))


def test_an_ended_pod_goes_in_time(make_plane):
    plane = make_plane(POD_TTL="1s")
    sid = plane.start_running()
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    wait_for(lambda: not plane.pod(sid), "the pod to go")
    assert plane.phase(sid) == "Completed"


# ---- what never runs ----

def test_an_image_that_comes_late(plane):
    sid = plane.session()
    plane.wait_pod(sid)
    plane.set_status(sid, waiting("ErrImagePull"))
    plane.wait_phase(sid, "Creating")
    plane.set_status(sid, running())
    plane.wait_phase(sid, "Running")


@pytest.mark.parametrize("why", ["ErrImagePull", "CreateContainerConfigError"])
def test_what_cannot_start(make_plane, why):
    plane = make_plane(IMAGE_TIMEOUT="1s", CONFIG_TIMEOUT="1s")
    sid = plane.session()
    plane.wait_pod(sid)
    plane.set_status(sid, waiting(why, "so sorry"))
    plane.wait_phase(sid, "Failed")
    assert (reason(plane, sid), plane.condition(sid, "Ready")["message"]) == (why, "so sorry")
    wait_for(lambda: not plane.pod(sid), "the pod to go")


def test_no_node(make_plane):
    plane = make_plane(SCHEDULE_TIMEOUT="2s")
    sid = plane.session()
    plane.wait_phase(sid, "Failed")
    assert reason(plane, sid) == "Unschedulable"
    wait_for(lambda: not plane.pod(sid), "the pod to go")


def test_a_lost_node(make_plane):
    plane = make_plane(NODE_TIMEOUT="1s")
    sid = plane.start_running()
    plane.set_status(sid, {"phase": "Unknown", "reason": "NodeLost"})
    plane.wait_phase(sid, "Failed")
    assert reason(plane, sid) == "NodeLost"
    wait_for(lambda: not plane.pod(sid), "the pod to go, although no kubelet ends it")


def test_a_pod_deleted_by_hand(make_plane):
    plane = make_plane(POD_MISSING_AFTER="2s")
    sid = plane.start_running()
    plane.finish(sid)
    plane.wait_phase(sid, "Failed")
    assert reason(plane, sid) == "PodMissing"


def test_the_time_limit(plane):
    sid = plane.session(timeout=2)
    plane.wait_pod(sid)
    plane.cluster.bind(plane.project, plane.name(sid))
    plane.set_status(sid, running())
    plane.wait_pod(sid, lambda pod: pod["metadata"].get("deletionTimestamp"))
    assert plane.pod(sid)["metadata"]["annotations"]["ambient-code.io/stop-reason"] == "time-limit"
    plane.finish(sid)
    plane.wait_phase(sid, "Failed")
    assert reason(plane, sid) == "Timeout"


# ---- stop and start ----

def test_stopped_means_that_the_pod_is_gone(plane):
    sid = plane.start_running()
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    plane.wait_pod(sid, lambda pod: pod["metadata"].get("deletionTimestamp"))
    assert plane.phase(sid) == "Stopping"
    plane.finish(sid)
    plane.wait_phase(sid, "Stopped")
    assert "SessionStopping" in plane.events(sid)


def test_a_pod_that_does_not_end(make_plane):
    plane = make_plane(POD_FORCE_AFTER="2s")
    sid = plane.start_running()
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    plane.wait_phase(sid, "Stopped")
    assert plane.condition(sid, "PodForceDeleted")["status"] == "True"
    assert not plane.pod(sid)


def test_start_in_the_grace_of_a_stop(plane):
    sid = plane.start_running()
    first = plane.pod(sid)["metadata"]["uid"]
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    plane.wait_pod(sid, lambda pod: pod["metadata"].get("deletionTimestamp"))
    plane.finish(sid)
    plane.wait_phase(sid, "Stopped")
    plane.client.ok("POST", f"/sessions/{sid}/start", status=200)
    pod = plane.wait_pod(sid, lambda pod: pod["metadata"]["uid"] != first)
    assert pod["metadata"]["annotations"]["ambient-code.io/run"] == "1"
    assert env_of(pod)["IS_RESUME"] == "true"


@pytest.mark.parametrize("code, phase", [(0, "Completed"), (1, "Failed")])
def test_start_after_an_end_makes_one_new_pod(plane, code, phase):
    sid = plane.start_running()
    first = plane.pod(sid)["metadata"]["uid"]
    plane.set_status(sid, terminated(code))
    plane.wait_phase(sid, phase)
    plane.client.ok("POST", f"/sessions/{sid}/start", status=200)
    second = plane.wait_pod(sid, lambda pod: pod["metadata"]["uid"] != first)["metadata"]["uid"]
    plane.wait_phase(sid, "Creating")
    plane.set_status(sid, running())
    plane.wait_phase(sid, "Running")
    assert plane.pod(sid)["metadata"]["uid"] == second
    assert plane.cp.log().count('"pod created"') == 2


def test_stop_while_it_is_being_made(plane):
    sid = plane.session()
    plane.client.call("POST", f"/sessions/{sid}/stop")  # 409 while it has no phase yet
    plane.wait_phase(sid, "Creating", "Stopped", "Stopping")
    plane.client.call("POST", f"/sessions/{sid}/stop")
    plane.wait_phase(sid, "Stopped")
    wait_for(lambda: not plane.pod(sid), "the pod to go")


# ---- delete ----

KINDS = ("pods", "services", "serviceaccounts", "secrets", "configmaps")


def left_of(plane, sid):
    return [o["kind"] for kind in KINDS
            for o in plane.cluster.get(kind, namespace=plane.project, selector=f"ambient-code.io/session-id={sid}")]


def test_a_delete_takes_its_objects_and_no_others(plane):
    first, second = plane.start_running(prompt="x" * 40000), plane.start_running()
    uid = plane.pod(second)["metadata"]["uid"]
    assert len(left_of(plane, first)) == 6  # with the Secrets of its port's token and of its prompt
    plane.client.ok("DELETE", f"/sessions/{first}")
    plane.wait_pod(first, lambda pod: pod["metadata"].get("deletionTimestamp"))
    plane.finish(first)
    wait_for(lambda: not left_of(plane, first), "everything of the first to go")
    assert plane.pod(second)["metadata"]["uid"] == uid
    assert plane.cluster.get("namespace", plane.project)["status"]["phase"] == "Active"
    assert len(left_of(plane, second)) == 5


# ---- the objects ----

def test_what_is_made(make_plane):
    plane = make_plane(ANTHROPIC_API_KEY="the-key-of-the-tests", IMAGE_PULL_SECRET="pull", HTTPS_PROXY="http://p:1",
                       RUNNER_IMAGE="localhost/runner:9")
    sid = plane.session(prompt="say $(SESSION_ID)", name="a name", llm_model="m", timeout=600,
                        environment_variables='{"MINE": "1", "SESSION_ID": "x"}')
    pod = plane.wait_pod(sid)
    spec, main = pod["spec"], pod["spec"]["containers"][0]
    assert spec["serviceAccountName"] == plane.name(sid, "-sa")
    assert spec["automountServiceAccountToken"] is False and spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] == 60 and spec["activeDeadlineSeconds"] == 720
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert (main["name"], main["image"], main["imagePullPolicy"]) == ("ambient-code-runner", "localhost/runner:9",
                                                                      "IfNotPresent")
    assert main["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}
    assert main["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert [v["name"] for v in spec["volumes"]] == ["workspace"], "no account's token, no missing CA"
    env = env_of(pod)
    assert (env["SESSION_ID"], env["MINE"], env["PROJECT_NAME"]) == (sid, "1", plane.project)
    assert env["INITIAL_PROMPT"] == "say $$(SESSION_ID)"
    assert env["https_proxy"] == env["HTTPS_PROXY"] == "http://p:1" and ".svc" in env["NO_PROXY"]
    key = next(e for e in main["env"] if e["name"] == "ANTHROPIC_API_KEY")["valueFrom"]["secretKeyRef"]
    secret = plane.cluster.get("secret", key["name"], plane.project)
    assert base64.b64decode(secret["data"]["ANTHROPIC_API_KEY"]) == b"the-key-of-the-tests"
    assert "the-key-of-the-tests" not in plane.cp.log()
    service = plane.cluster.get("service", plane.name(sid, ""), plane.project)
    assert service["spec"]["selector"] == {"ambient-code.io/session-id": sid}
    port = service["spec"]["ports"][0]
    assert (port["name"], port["port"], port["targetPort"]) == ("agui", 8001, 8001)
    anchor = plane.cluster.get("configmap", plane.name(sid, ""), plane.project)["metadata"]
    for kind, name in (("pod", plane.name(sid)), ("service", plane.name(sid, "")),
                       ("serviceaccount", plane.name(sid, "-sa"))):
        owners = plane.cluster.get(kind, name, plane.project)["metadata"]["ownerReferences"]
        assert [(o["kind"], o["uid"]) for o in owners] == [("ConfigMap", anchor["uid"])], kind


def test_a_long_prompt_is_mounted(plane):
    prompt = "long $(X) " * 5000
    sid = plane.session(prompt=prompt)
    pod = plane.wait_pod(sid)
    env = env_of(pod)
    assert "INITIAL_PROMPT" not in env and env["INITIAL_PROMPT_FILE"] == "/var/run/ambient/prompt"
    name = next(v for v in pod["spec"]["volumes"] if v["name"] == "prompt")["secret"]["secretName"]
    data = plane.cluster.get("secret", name, plane.project)["data"]
    assert base64.b64decode(data["prompt"]).decode() == prompt


def test_a_users_own_key_counts_first(make_plane):
    plane = make_plane(ANTHROPIC_API_KEY="ours")
    wait_for(lambda: plane.cluster.get("secret", "ambient-runner-secrets", plane.project), "the runner secrets")
    theirs = base64.b64encode(b"theirs").decode()
    plane.cluster.kubectl("patch", "secret", "ambient-runner-secrets", "-n", plane.project, "--type=merge", "-p",
                          '{"data":{"ANTHROPIC_API_KEY":"%s"}}' % theirs)
    pod = plane.wait_pod(plane.session())
    key = next(e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "ANTHROPIC_API_KEY")
    assert key["valueFrom"]["secretKeyRef"]["name"] == "ambient-runner-secrets"
    secret = plane.cluster.get("secret", "ambient-runner-secrets", plane.project)
    assert secret["data"]["ANTHROPIC_API_KEY"] == theirs


def test_a_workspace_that_stays(make_plane):
    plane = make_plane(WORKSPACE_STORAGE="pvc", WORKSPACE_SIZE="2Gi")
    sid = plane.session()
    pod = plane.wait_pod(sid)
    claim = plane.cluster.get("pvc", plane.name(sid, "-workspace"), plane.project)
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert pod["spec"]["securityContext"]["fsGroup"] == 10001


def test_a_pod_of_its_name_that_is_not_ours(make_plane):
    plane = make_plane(PERMANENT_AFTER="0s")
    wait_for(lambda: plane.cluster.get("namespace", plane.project), "the namespace")
    plane.cp.stop()
    sid = plane.session()
    plane.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": plane.name(sid, "")},
                         "spec": {"ports": [{"port": 1}]}}, namespace=plane.project)
    plane.cp.start()
    wait_for(lambda: "NameConflict" in (plane.condition(sid, "Reconciled") or {}).get("message", ""), "the condition")
    assert not plane.pod(sid)
    service = plane.cluster.get("service", plane.name(sid, ""), plane.project)
    assert "labels" not in service["metadata"], "what is not ours is not touched"


def test_the_ca_of_the_cluster_beside_the_public_ones(plane):
    """As OpenShift has it: a ConfigMap in every namespace."""
    wait_for(lambda: plane.cluster.get("secret", "ambient-runner-secrets", plane.project), "the project")
    plane.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "openshift-service-ca.crt"},
                         "data": {"service-ca.crt": "the cluster's own\n"}}, namespace=plane.project)
    pod = plane.wait_pod(plane.session())
    env = env_of(pod)
    assert env["SSL_CERT_FILE"] == env["REQUESTS_CA_BUNDLE"] == env["AMBIENT_GRPC_CA_CERT_FILE"]
    mount = next(m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["name"] == "service-ca")
    assert env["SSL_CERT_FILE"] == mount["mountPath"] + "/ca-bundle.crt" and "subPath" not in mount
    bundle = plane.cluster.get("configmap", "ambient-ca-bundle", plane.project)["data"]["ca-bundle.crt"]
    assert bundle.endswith("the cluster's own\n") and bundle.count("BEGIN CERTIFICATE") > 50
