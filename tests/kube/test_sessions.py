"""The life of a session as a pod: the real API server of both sides, the test as kubelet and scheduler."""
from api_support import wait_for
from cluster_support import running, terminated


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
    assert plane.condition(sid, "Ready")["reason"] == "Completed"
    assert plane.pod(sid), "an ended pod stays for its logs"
