"""Credentials of a session in a pod: resolved, granted, served by sidecars where there is an image, taken back."""
import json

from api_support import wait_for
from cluster_support import container, running, terminated

RUNNER = "ambient-code-runner"


def credential(plane, provider):
    made = plane.client.ok("POST", "/credentials", {"name": f"{provider} of {plane.project}", "provider": provider,
                                                    "token": "s3cret-of-the-tests"})["id"]
    plane.client.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                               "credential_id": made, "project_id": plane.project})
    return made


def grants(plane, session):
    return {b["credential_id"] for b in plane.client.items("/role_bindings", search=f"session_id = '{session}'")}


def env_of(c):
    return {e["name"]: e.get("value") for e in c["env"]}


def by_name(containers):
    return {c["name"]: c for c in containers}


def test_a_sidecar_and_what_is_left_to_the_runner(make_plane):
    plane = make_plane(GITHUB_MCP_IMAGE="registry.test/github-mcp:1", JIRA_MCP_IMAGE="registry.test/jira-mcp:1")
    github, gitlab = credential(plane, "github"), credential(plane, "gitlab")
    sid = plane.session()
    pod = plane.wait_pod(sid)
    runner = env_of(pod["spec"]["containers"][0])
    assert [c["name"] for c in pod["spec"]["containers"]] == [RUNNER]
    sidecars = by_name(pod["spec"]["initContainers"])
    assert list(sidecars) == ["credential-github"], "this cluster knows sidecars; nobody has a Jira credential"
    sidecar = sidecars["credential-github"]
    assert sidecar["restartPolicy"] == "Always" and sidecar["ports"][0]["containerPort"] == 8091
    assert sidecar["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                                          "readOnlyRootFilesystem": True, "runAsNonRoot": True}
    assert json.loads(env_of(sidecar)["CREDENTIAL_IDS"]) == {"github": github}
    assert json.loads(runner["CREDENTIAL_IDS"]) == {"gitlab": gitlab}
    assert json.loads(runner["CREDENTIAL_MCP_URLS"]) == {"github": "http://localhost:8091"}
    assert {m["mountPath"] for m in sidecar["volumeMounts"]} <= {"/tmp", "/var/run/secrets/ambient"}
    assert "s3cret-of-the-tests" not in json.dumps(pod) and "s3cret-of-the-tests" not in plane.cp.log()
    assert grants(plane, sid) == {github, gitlab}
    plane.cluster.bind(plane.project, plane.name(sid))
    plane.set_status(sid, running())
    plane.wait_phase(sid, "Running")
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    wait_for(lambda: not grants(plane, sid), "the grants to be taken back")


def test_grants_of_a_session_whose_pod_is_gone(make_plane):
    """Nothing is left on the cluster that would remind us of them."""
    plane = make_plane(POD_MISSING_AFTER="1s")
    credential(plane, "gitlab")
    sid = plane.start_running()
    assert grants(plane, sid)
    plane.finish(sid)
    plane.wait_phase(sid, "Failed")
    wait_for(lambda: not grants(plane, sid), "the grants to be taken back")


def test_grants_that_were_left_are_swept(make_plane):
    """What an earlier control plane did not come to."""
    plane = make_plane(ORPHAN_SWEEP_FIRST="1s", LEASE_DURATION="3s")
    made = credential(plane, "gitlab")
    over, alive = plane.start_running(), plane.start_running()
    plane.set_status(over, terminated(0))
    plane.wait_phase(over, "Completed")
    wait_for(lambda: not grants(plane, over), "the grants to be taken back")
    plane.cp.kill()
    plane.client.ok("POST", "/role_bindings", {"role_id": "credential:token-reader", "scope": "credential",
                                               "credential_id": made, "session_id": over})
    plane.cp.start()
    wait_for(lambda: not grants(plane, over), "the sweep")
    assert grants(plane, alive) == {made}


def test_a_sidecar_that_fails(make_plane):
    plane = make_plane(GITHUB_MCP_IMAGE="registry.test/github-mcp:1")
    credential(plane, "github")
    sid = plane.start_running()
    assert plane.condition(sid, "CredentialSidecarFailed") is None
    broken = container("credential-github", {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                       restarts=3)
    plane.set_status(sid, {**running(), "initContainerStatuses": [broken]})
    seen = wait_for(lambda: plane.condition(sid, "CredentialSidecarFailed"), "the condition")
    assert (seen["status"], seen["reason"]) == ("True", "CrashLoopBackOff")
    assert "credential-github" in seen["message"] and plane.phase(sid) == "Running"
    well = container("credential-github", {"running": {"startedAt": "2020-01-01T00:00:00Z"}}, True, restarts=4)
    plane.set_status(sid, {**running(), "initContainerStatuses": [well]})
    wait_for(lambda: plane.condition(sid, "CredentialSidecarFailed")["status"] == "False", "it to be over")
