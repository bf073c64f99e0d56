"""A leader that was stopped for longer than its lease: what it had begun is not written when it goes on."""
import signal
import time

import pytest

from api_support import wait_for
from many_support import Many


@pytest.fixture
def few(tmp_path):
    made = Many(tmp_path, 4, projects=1, LEASE_DURATION="2s")
    try:
        yield made
    finally:
        made.kube.let_go()
        made.cp.process.send_signal(signal.SIGCONT)
        made.close()


# What is held: each is followed by a write at once, on Kubernetes or on the API server.
@pytest.mark.parametrize("verb, kind", [("get", "serviceaccounts"), ("create", "pods")])
def test_a_leader_that_was_stopped_writes_nothing(few, verb, kind):
    few.cp.start()
    wait_for(few.is_quiet, "the first to lead")
    few.kube.hold("cp", verb, kind)
    sids = [few.client.session(project_id=few.projects[0], prompt="x")["id"] for _ in range(3)]
    wait_for(lambda: few.kube.held == 3, "all of them to be in the middle of their start")
    few.cp.process.send_signal(signal.SIGSTOP)
    few.kube.let_go()  # the answers are there when it goes on
    second = few.control_plane("second")
    wait_for(second.leads, "the second to lead")
    for sid in sids:
        few.run(few.wait_pod(sid))
    wait_for(lambda: all(few.phase(sid) == "Running" for sid in sids), "the second to go on with them")
    wait_for(lambda: few.is_quiet(second), "the second to be done")
    seen, began = [few.client.ok("GET", f"/sessions/{sid}") for sid in sids], time.monotonic()
    few.cp.process.send_signal(signal.SIGCONT)
    wait_for(lambda: '"not leading any more"' in few.cp.log(), "it to notice")
    wait_for(lambda: [r for r in few.kube.since(began, "cp") if r.kind == "leases"], "it to ask who leads")
    assert few.kube.writes(began, "cp") == []
    assert [few.client.ok("GET", f"/sessions/{sid}") for sid in sids] == seen
    assert all(len(few.pods(sid)) == 1 for sid in sids)
    second.stop()
    wait_for(lambda: "ambient_cp_leader 1" in few.cp.metrics(), "it to lead again")
    wait_for(few.is_quiet, "it to be done")
    assert [few.client.ok("GET", f"/sessions/{sid}") for sid in sids] == seen
