"""Many sessions: what a restart and an outage cost, by what a Kubernetes API counts. AMBIENT_TEST_SESSIONS says how
many: 10000 take some minutes."""
import os
import time

import pytest

from api_support import BUILD, wait_for
from cluster_support import running, terminated
from many_support import Many

N = int(os.environ.get("AMBIENT_TEST_SESSIONS", "1000"))
QPS, BURST = 500, 100
SANITIZED = "asan" in str(BUILD)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    made = Many(tmp_path_factory.mktemp("many"), N, KUBE_API_QPS=str(QPS), KUBE_API_BURST=str(BURST))
    try:
        yield made
    finally:
        made.close()


def settle(many):
    wait_for(lambda: many.is_quiet() and sum(many.phases().values()) >= N, "all of them to be looked at", 120)


def check_rate(many, began):
    """At no moment have more come than the bucket may have let pass: it was full when this began. Nothing arrives
    before it was sent, so this holds on a slow machine as well. The Lease is urgent, and read every now and then."""
    times = sorted(r.at for r in many.kube.since(began) if r.kind != "leases")
    for n, at in enumerate(times, 1):
        assert n <= BURST + QPS * (at - began) + 1, f"{n} requests within {at - began:.3f} s"


def test_a_restart_reads_lists_and_writes_nothing(many):
    began = time.monotonic()
    many.start()
    assert many.phases() == {"Running": N}
    wait_for(lambda: sum(r.kind == "secrets" for r in many.kube.since(began)) >= N, "each token to be compared", 120)
    settle(many)
    assert many.kube.writes(began) == []
    counts = many.kube.count(began)
    assert counts["list", "pods"] <= 2 * -(-N // 500)  # one before it comes to lead, and one when it does
    assert counts["get", "secrets"] == N
    assert counts["watch", "pods"] <= 2
    others = {k: n for k, n in counts.items() if k not in (("list", "pods"), ("get", "secrets")) and k[1] != "leases"}
    assert sum(others.values()) < 100, others  # namespaces of projects, questions about rights
    check_rate(many, began)


def test_its_memory_is_bounded(many):
    if SANITIZED:
        pytest.skip("a sanitizer's memory is not the program's")
    text = open(f"/proc/{many.cp.process.pid}/status", encoding="ascii").read()
    kib = int(text.split("VmRSS:")[1].split()[0])
    assert kib < 40 * 1024 + 6 * N


def test_kubernetes_is_gone_and_comes_back(many):
    """Meanwhile some end, some are made, some are stopped, some are deleted."""
    ended, stopped, deleted = many.sessions[10:60], many.sessions[60:90], many.sessions[90:110]
    uids = {o["metadata"]["uid"] for o in many.kube.of("pods")}
    many.kube.stop()
    wait_for(lambda: "ambient_cp_leader 0" in many.cp.metrics(), "the lease to be given up")
    gone = set()
    for sid in ended:
        pod = many.pods(sid)[0]
        many.kube.put("pods", {**pod, "status": terminated(0)})
    for sid in stopped + deleted:
        gone.add(many.pods(sid)[0]["metadata"]["uid"])
        if sid in stopped:
            many.client.ok("POST", f"/sessions/{sid}/stop", status=200)
        else:
            many.client.ok("DELETE", f"/sessions/{sid}")
    made = [many.client.session(project_id=many.projects[0], prompt="late")["id"] for _ in range(30)]
    began = time.monotonic()
    many.kube.start()
    want = {"Running": N - 100, "Completed": 50, "Stopped": 30, "Creating": 30}
    wait_for(lambda: many.phases() == want and many.is_quiet(), f"{want}, not {many.phases()}", 120)
    check_rate(many, began)
    alive = {o["metadata"]["uid"] for o in many.kube.of("pods")}
    assert uids - alive <= gone, "nothing alive was deleted"
    created = [r for r in many.kube.writes(began) if (r.verb, r.kind, r.code) == ("create", "pods", 201)]
    assert len(created) == len(made)
    for sid in deleted:
        wait_for(lambda: not many.kube.of("configmaps", **{"ambient-code.io/session-id": sid}), "its objects to go")
    for sid in made:
        many.kube.put("pods", {**many.wait_pod(sid), "status": running()})
    wait_for(lambda: many.phases()["Running"] == N - 70, "the late ones to run")


def test_a_server_that_has_too_much_to_do_is_left_alone(many):
    """Everything is refused for a while: what is asked in that time is next to nothing."""
    many.kube.faults, many.kube.spared = {"429": 1.0}, ("leases",)
    began = time.monotonic()
    made = [many.client.session(project_id=many.projects[i % 10], prompt="busy")["id"] for i in range(100)]

    def asked():
        return [r for r in many.kube.since(began) if r.kind != "leases"]
    refused = wait_for(lambda: len(asked()) >= 48 and asked(), "some requests to be refused")
    seconds = refused[-1].at - began
    # One for each worker and each second that the server asks to wait, not fifty a second of each.
    assert len(refused) <= (seconds + 1) * (16 + 16 + 4)
    many.kube.faults = {}
    for sid in made:
        many.wait_pod(sid)
    wait_for(many.is_quiet, "all answers to be heard")
    assert len({o["metadata"]["name"] for o in many.kube.of("pods")}) == len(many.kube.of("pods"))
    pods = [r for r in many.kube.writes(began) if (r.verb, r.kind, r.code) == ("create", "pods", 201)]
    assert len(pods) == len(made)


def test_the_api_server_is_gone_and_comes_back(many):
    ended = many.sessions[200:260]
    many.api.kill()
    began = time.monotonic()
    for sid in ended:
        many.kube.put("pods", {**many.pods(sid)[0], "status": terminated(3)})
    wait_for(lambda: 'ambient_cp_watch_connected{kind="sessions"} 0' in many.cp.metrics(), "the stream to break")
    many.api.start()
    wait_for(lambda: many.phases().get("Failed") == len(ended) and many.is_quiet(), "all ends to be written", 120)
    assert [r for r in many.kube.writes(began) if r.verb.startswith("delete")] == []
