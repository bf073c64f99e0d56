"""Watches of kinds. grpc.md 6; resuming by resource_version is ours."""
import grpc
import pytest

from rpc_support import CREATED, DELETED, UPDATED, has

OBJECT = {"WatchSessions": "session", "WatchProjects": "project", "WatchProjectSettings": "project_settings",
          "WatchUsers": "user"}


def shape(event, method="WatchSessions"):
    return event.type, event.resource_id, has(event, OBJECT[method])


def life_of(rpc, kind, name, project):
    """Makes, changes and deletes one object; returns its id."""
    if kind == "Session":
        made = rpc.call("CreateSession", name=name)
        rpc.call("UpdateSession", id=made.metadata.id, prompt="p")
    elif kind == "Project":
        made = rpc.call("CreateProject", name="w-" + name)
        rpc.call("UpdateProject", id=made.metadata.id, status="s")
    elif kind == "ProjectSettings":
        made = rpc.call("CreateProjectSettings", project_id=project)
        rpc.call("UpdateProjectSettings", id=made.metadata.id, repositories="[]")
    else:
        made = rpc.call("CreateUser", username=name, name="n")
        rpc.call("UpdateUser", id=made.metadata.id, name="m")
    rpc.call("Delete" + kind, id=made.metadata.id)
    return made.metadata.id


@pytest.mark.parametrize("kind, method", [("Session", "WatchSessions"), ("Project", "WatchProjects"),
                                          ("ProjectSettings", "WatchProjectSettings"), ("User", "WatchUsers")])
def test_each_kind_is_followed_to_its_end(rpc, kind, method, name, project):
    watch = rpc.watch(method)
    object_id = life_of(rpc, kind, name, project)
    events = []
    while not events or events[-1].type != DELETED:
        events.append(watch.next())
    # Changes of one object that wait may merge, but it begins with CREATED unless it was already gone.
    assert {e.resource_id for e in events} == {object_id}
    assert not has(events[-1], OBJECT[method])
    if len(events) > 1:
        assert events[0].type == CREATED and has(events[0], OBJECT[method])
    versions = [int(e.resource_version) for e in events]
    assert versions == sorted(set(versions))


def test_events_step_by_step(rpc):
    watch = rpc.watch("WatchSessions")
    made = rpc.call("CreateSession", name="steps")
    created = watch.next()
    assert shape(created) == (CREATED, made.metadata.id, True)
    assert created.session == made
    changed = rpc.call("UpdateSession", id=made.metadata.id, name="changed")
    updated = watch.next()
    assert shape(updated) == (UPDATED, made.metadata.id, True)
    assert updated.session == changed
    rpc.call("UpdateSessionStatus", id=made.metadata.id, phase="Running")
    assert watch.next().session.phase == "Running"
    rpc.call("UpdateSession", id=made.metadata.id, name="changed")  # no change, no event
    rpc.call("DeleteSession", id="never-was")  # nothing there, no event
    rpc.call("DeleteSession", id=made.metadata.id)
    assert shape(watch.next()) == (DELETED, made.metadata.id, False)


def test_rest_changes_are_seen(rpc, api):
    watch = rpc.watch("WatchSessions")
    session = api.session(name="rest")
    assert watch.next().session.name == "rest"
    api.ok("POST", f"/sessions/{session['id']}/start", status=200)
    assert watch.next().session.phase == "Pending"


def test_other_kinds_are_not_seen(rpc, name):
    watch = rpc.watch("WatchProjects")
    rpc.call("CreateSession", name="noise")
    rpc.call("CreateUser", username=name, name="n")
    rpc.call("CreateProject", name="only-" + name)
    assert watch.next().project.name == "only-" + name


def test_many_watchers_get_the_same(rpc, server):
    watches = [rpc.watch("WatchSessions") for _ in range(20)]
    made = [rpc.call("CreateSession", name=f"m{i}").metadata.id for i in range(10)]
    for watch in watches:
        assert [e.resource_id for e in watch.take(10)] == made


def test_a_watch_goes_on_where_it_was(rpc):
    watch = rpc.watch("WatchSessions")
    rpc.call("CreateSession", name="seen")
    version = watch.next().resource_version
    watch.close()
    missed = [rpc.call("CreateSession", name=f"missed{i}").metadata.id for i in range(3)]
    resumed = rpc.watch("WatchSessions", resource_version=version)
    events = resumed.take(3)
    assert [e.resource_id for e in events] == missed
    live = rpc.call("CreateSession", name="live")
    assert resumed.next().resource_id == live.metadata.id


def test_a_watch_without_version_starts_now(rpc):
    rpc.call("CreateSession", name="old")
    watch = rpc.watch("WatchSessions")
    new = rpc.call("CreateSession", name="new")
    assert watch.next().resource_id == new.metadata.id


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "18446744073709551615", "99999999999999999999999", " 1"])
def test_versions_that_are_none(rpc, version):
    assert rpc.error("WatchSessions", resource_version=version) == (
        grpc.StatusCode.INVALID_ARGUMENT, "resource_version is not one of this server")


def test_the_header_narrows_to_a_project(rpc, project, name):
    """dev-user is an administrator here: everything but the header would let it see all."""
    other = rpc.call("CreateProject", name="other-" + name).metadata.id
    watch = rpc.watch("WatchSessions", [("x-ambient-project", project)])
    rpc.call("CreateSession", name="elsewhere", project_id=other)
    rpc.call("CreateSession", name="nowhere")
    mine = rpc.call("CreateSession", name="here", project_id=project).metadata.id
    assert watch.next().resource_id == mine
    rpc.call("DeleteSession", id=mine)
    assert shape(watch.next()) == (DELETED, mine, False)


def test_an_empty_header_does_not_narrow(rpc):
    watch = rpc.watch("WatchSessions", [("x-ambient-project", "")])
    made = rpc.call("CreateSession", name="any")
    assert watch.next().resource_id == made.metadata.id


def test_deleting_a_project_tells_of_its_sessions(rpc, name):
    project = rpc.call("CreateProject", name="gone-" + name).metadata.id
    session = rpc.call("CreateSession", name="child", project_id=project).metadata.id
    watch = rpc.watch("WatchSessions")
    rpc.call("DeleteProject", id=project)
    assert shape(watch.next()) == (DELETED, session, False)


def test_cancelling_leaves_the_server_as_it_was(rpc):
    for _ in range(50):
        rpc.watch("WatchSessions").close()
    watch = rpc.watch("WatchSessions")
    made = rpc.call("CreateSession", name="after")
    assert watch.next().resource_id == made.metadata.id
