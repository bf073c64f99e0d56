"""An answer that comes late says what was, not what is: the watch knows better."""
import re

import pytest

from api_support import wait_for
from many_support import Many


@pytest.fixture
def few(tmp_path):
    made = Many(tmp_path, 2, projects=1, POD_MISSING_AFTER="1s")
    try:
        yield made.start()
    finally:
        made.kube.let_go()
        made.close()


def pods_seen(few):
    return int(re.search(r'watch_events_total\{kind="pods"\} (\d+)', few.cp.metrics())[1])


def test_a_pod_that_runs_before_its_creation_is_answered(few):
    few.kube.hold("cp", "create", "pods")
    sid = few.client.session(project_id=few.projects[0], prompt="x")["id"]
    before = pods_seen(few)
    few.run(few.wait_pod(sid))
    wait_for(lambda: pods_seen(few) == before + 2, "the watch to show that it runs")
    few.kube.let_go()
    wait_for(lambda: few.phase(sid) == "Running", "the session to run")


def test_a_pod_that_is_gone_before_its_creation_is_answered(few):
    few.kube.hold("cp", "create", "pods")
    sid = few.client.session(project_id=few.projects[0], prompt="x")["id"]
    before = pods_seen(few)
    first = few.wait_pod(sid)["metadata"]
    few.kube.remove("pods", (first["namespace"], first["name"]))
    wait_for(lambda: pods_seen(few) == before + 2, "the watch to show that it went")
    few.kube.let_go()
    wait_for(lambda: few.pods(sid) and few.pods(sid)[0]["metadata"]["uid"] != first["uid"], "another one")


def test_a_pod_that_came_and_went_while_nobody_watched(few):
    """The watch was down from before its creation until after its end."""
    few.kube.mute("pods")
    sid = few.client.session(project_id=few.projects[0], prompt="x")["id"]
    first = few.wait_pod(sid)["metadata"]
    wait_for(lambda: few.phase(sid) == "Creating", "its creation to be answered")
    few.kube.remove("pods", (first["namespace"], first["name"]))
    few.kube.mute(None)
    wait_for(lambda: few.phase(sid) == "Failed", "it to be missed")
