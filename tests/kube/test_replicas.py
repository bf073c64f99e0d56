"""Several replicas, crashes and outages: nothing is lost, nothing is done twice, nothing alive is deleted."""
import http.client
import re
import signal

from api_support import DEADLINE, wait_for
from cluster_support import SYSTEM, terminated


def lease(plane):
    return plane.cluster.get("lease", "ambient-control-plane", SYSTEM)["spec"]


def writes(cp):
    """Requests that changed something, but for the lease and reviews."""
    answer = cp_request(cp, "/metrics")
    found = re.findall(r'ambient_cp_kube_requests_total\{verb="(\w+)",resource="(\w+)",code="\d+"\} (\d+)', answer)
    return {(verb, resource): int(n) for verb, resource, n in found
            if verb not in ("get", "list", "watch") and resource not in ("leases", "selfsubjectaccessreviews")}


def cp_request(cp, path):
    connection = http.client.HTTPConnection("127.0.0.1", cp.ports["metrics"], timeout=DEADLINE)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def test_a_restart_writes_nothing(make_plane):
    plane = make_plane(LEASE_DURATION="3s")
    sids = [plane.start_running(), plane.session()]
    plane.set_status(sids[0], terminated(0))
    plane.wait_phase(sids[0], "Completed")
    plane.wait_phase(sids[1], "Creating")
    for how in (signal.SIGKILL, signal.SIGTERM):
        plane.cp.process.send_signal(how)
        plane.cp.process.wait(DEADLINE)
        plane.cp.start()
        wait_for(lambda: cp_request(plane.cp, "/readyz") == "ok" and plane.cp.leads(), "the new one to lead")
        sid = plane.session()  # when this one is there, the others have been looked at
        plane.wait_phase(sid, "Creating")
        done = writes(plane.cp)
        assert done.pop(("create", "events"), 0) <= 1  # nobody waits for it
        assert done == {("create", "pods"): 1, ("apply", "configmaps"): 1, ("apply", "services"): 1,
                        ("apply", "serviceaccounts"): 1, ("apply", "secrets"): 1}


def test_the_leader_is_killed(plane):
    second = plane.control_plane("second")
    wait_for(plane.cp.leads, "the first to lead")
    sid = plane.start_running()
    uid = plane.pod(sid)["metadata"]["uid"]
    assert not second.leads()
    assert wait_for(lambda: cp_request(second, "/readyz"), "an answer") == "ok", "a standby is ready too"
    plane.cp.kill()
    later = plane.session()
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    plane.wait_pod(later)
    assert second.leads() and lease(plane)["holderIdentity"].startswith("second_")
    assert plane.pod(sid)["metadata"]["uid"] == uid
    assert second.log().count('"pod created"') == 1


def test_a_clean_end_hands_over_at_once(make_plane):
    """The lease is not waited for: nobody would wait so long."""
    plane = make_plane(LEASE_DURATION="600s")
    wait_for(plane.cp.leads, "the first to lead")
    sid = plane.start_running()
    second = plane.control_plane("second", LEASE_DURATION="15s")
    wait_for(lambda: cp_request(second, "/readyz") == "ok", "the second to be ready")
    plane.cp.process.send_signal(signal.SIGTERM)
    assert plane.cp.process.wait(DEADLINE) == 0
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    assert second.leads()


def test_what_happened_while_nobody_watched(make_plane):
    plane = make_plane(LEASE_DURATION="3s")
    stopped, ended, deleted = (plane.start_running() for _ in range(3))
    plane.cp.kill()
    plane.client.ok("POST", f"/sessions/{stopped}/stop", status=200)
    plane.set_status(ended, terminated(4))
    pending = plane.session()
    plane.client.ok("DELETE", f"/sessions/{deleted}")
    plane.cp.start()
    plane.wait_pod(stopped, lambda pod: pod["metadata"].get("deletionTimestamp"))
    plane.finish(stopped)
    plane.wait_phase(stopped, "Stopped")
    plane.wait_phase(ended, "Failed")
    plane.wait_phase(pending, "Creating")
    # A delete that nobody saw is believed after a minute only, and with a list between.
    assert not plane.pod(deleted)["metadata"].get("deletionTimestamp")


def test_kubernetes_is_away(make_plane):
    plane = make_plane(LEASE_DURATION="3s")
    sid = plane.start_running()
    plane.cluster.stop_apiserver()
    try:
        later = plane.session()
        wait_for(lambda: '"not leading any more"' in plane.cp.log(), "the lease to be given up")
    finally:
        plane.cluster.start_apiserver()
    plane.wait_phase(later, "Creating")
    assert plane.phase(sid) == "Running"
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")


def test_the_api_server_is_away(plane):
    sid = plane.start_running()
    plane.api.kill()
    plane.set_status(sid, terminated(0))
    plane.api.start()
    plane.wait_phase(sid, "Completed")
    assert plane.pod(sid)


def test_a_delete_that_nobody_saw(make_plane):
    """Also of what has no pod any more, and so only shows when everything is looked at."""
    plane = make_plane(LEASE_DURATION="3s", ORPHAN_YOUNG="1s", ORPHAN_CONFIRM="2s", ORPHAN_SWEEP_FIRST="1s",
                       ORPHAN_SWEEP="1s", POD_TTL="1s")
    with_pod, without, alive = plane.start_running(), plane.start_running(), plane.start_running()
    plane.set_status(without, terminated(0))
    wait_for(lambda: not plane.pod(without), "the ended pod to go")
    plane.cp.kill()
    for sid in (with_pod, without):
        plane.client.ok("DELETE", f"/sessions/{sid}")
    plane.cp.start()
    plane.wait_pod(with_pod, lambda pod: pod["metadata"].get("deletionTimestamp"))
    plane.finish(with_pod)
    for sid in (with_pod, without):
        wait_for(lambda: not anchors(plane, sid), "its objects to go")
    assert anchors(plane, alive) and not plane.pod(alive)["metadata"].get("deletionTimestamp")


def anchors(plane, sid):
    return plane.cluster.get("configmaps", namespace=plane.project, selector=f"ambient-code.io/session-id={sid}")


def test_an_api_server_that_lost_its_data(make_plane):
    """The brake: nothing is deleted when suddenly most sessions are missing, until three rounds agree."""
    plane = make_plane(ORPHAN_YOUNG="1s", ORPHAN_CONFIRM="1s", ORPHAN_SWEEP_FIRST="2s", ORPHAN_SWEEP="20s")
    sids = [plane.session() for _ in range(12)]
    for sid in sids:
        plane.wait_phase(sid, "Creating")
    plane.api.kill()
    for path in list(plane.directory.glob("**/*.db*")):
        path.unlink()
    plane.api.start()
    wait_for(lambda: "nothing is removed until three lists agree" in plane.cp.log(), "the brake")
    strays = re.search(r"ambient_cp_strays (\d+)", cp_request(plane.cp, "/metrics"))
    assert int(strays[1]) >= 12  # and what other tests have left
    pods = plane.cluster.get("pods", namespace=plane.project)
    assert len(pods) == 12 and not [p for p in pods if p["metadata"].get("deletionTimestamp")]


def test_events_of_kubernetes_and_metrics(plane):
    sid = plane.start_running()
    assert "SessionStarting" in wait_for(lambda: plane.events(sid), "events")
    text = cp_request(plane.cp, "/metrics")
    assert "ambient_cp_leader 1" in text and 'ambient_cp_sessions{phase="Running"} 1' in text
