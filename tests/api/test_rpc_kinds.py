"""Unary calls of every kind. grpc.md 5; fields and defaults are rest-core.md's."""
import grpc
import pytest

import api_support
import rpc_support
from rpc_support import METHODS, has, stamp

INVALID, NOT_FOUND, EXISTS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
                              grpc.StatusCode.ALREADY_EXISTS)
STATUS_FIELDS = ("status patch body must set at least one field: phase, start_time, completion_time, sdk_session_id, "
                 "sdk_restart_count, conditions, reconciled_repos, reconciled_workflow, kube_cr_uid, kube_namespace")
PHASES = "Pending, Creating, Running, Stopping, Stopped, Completed, Failed"


def check_metadata(resource, kind, collection, object_id=None):
    meta = resource.metadata
    assert meta.kind == kind
    assert meta.href == f"/api/ambient/v1/{collection}/{meta.id}"
    assert object_id in (None, meta.id)
    assert stamp(meta.created_at) > 0 and stamp(meta.updated_at) >= stamp(meta.created_at)
    assert meta.created_at.nanos % 1000 == 0


# ---- sessions ----

def test_session_is_created_with_defaults(rpc):
    session = rpc.call("CreateSession", name="first", prompt="", labels='{"a":"b"}', created_by_user_id="eve")
    check_metadata(session, "Session", "sessions")
    assert len(session.metadata.id) == 27
    assert session.name == "first"
    assert has(session, "prompt") and session.prompt == ""
    assert session.labels == '{"a":"b"}'
    assert session.created_by_user_id == "dev-user"
    assert session.llm_model == "claude-sonnet-4-6"
    assert session.llm_temperature == 0.7 and session.llm_max_tokens == 4000
    assert session.kube_cr_name == session.metadata.id
    for absent in ("phase", "repo_url", "timeout", "start_time", "agent_id", "project_id"):
        assert not has(session, absent), absent


def test_session_is_the_same_over_both_protocols(rpc, api, project):
    made = rpc.call("CreateSession", name="both", project_id=project, timeout=60, llm_temperature=0.0,
                    environment_variables='{"K":"<v>"}')
    seen = api.ok("GET", f"/sessions/{made.metadata.id}")
    assert (seen["name"], seen["project_id"], seen["timeout"]) == ("both", project, 60)
    assert seen["llm_temperature"] == 0 and seen["environment_variables"] == '{"K":"<v>"}'
    got = rpc.call("GetSession", id=made.metadata.id)
    assert got == made
    rest = api.session(name="from rest")
    assert rpc.call("GetSession", id=rest["id"]).name == "from rest"


def test_session_prompt_is_its_first_message(rpc, api):
    made = rpc.call("CreateSession", name="p", prompt="do it")
    messages = api.messages(made.metadata.id)
    assert [(m["event_type"], m["payload"]) for m in messages] == [("user", "do it")]


def test_session_project_comes_from_the_header(rpc, project):
    header = [("x-ambient-project", project)]
    assert rpc.call("CreateSession", None, header, name="h").project_id == project
    assert not has(rpc.call("CreateSession", None, header, name="h", project_id=""), "project_id")
    assert rpc.error("CreateSession", [("x-ambient-project", "no such!")], name="h")[0] == INVALID


def test_session_refusals(rpc):
    assert rpc.error("CreateSession") == (INVALID, "name is required")
    assert rpc.error("CreateSession", name="x" * 256) == (INVALID, "name exceeds maximum length of 255")
    assert rpc.error("CreateSession", name="x", llm_temperature=float("nan"))[0] == INVALID
    assert rpc.error("CreateSession", name="x", project_id="nope") == (NOT_FOUND, "Project with id='nope' not found")
    assert rpc.error("CreateSession", name="x", parent_session_id="nope")[0] == NOT_FOUND
    for method in ("GetSession", "UpdateSession", "UpdateSessionStatus", "DeleteSession"):
        assert rpc.error(method) == (INVALID, "id is required"), method
    assert rpc.error("GetSession", id="nope") == (NOT_FOUND, "Session with id='nope' not found")
    assert rpc.error("UpdateSession", id="nope", name="x") == (NOT_FOUND, "Session with id='nope' not found")


def test_session_update_changes_what_is_present(rpc):
    made = rpc.call("CreateSession", name="u", prompt="p", workflow_id="w", assigned_user_id="a")
    changed = rpc.call("UpdateSession", id=made.metadata.id, prompt="", workflow_id="", timeout=0)
    assert changed.name == "u" and changed.assigned_user_id == "a"
    assert has(changed, "prompt") and changed.prompt == ""
    assert not has(changed, "workflow_id")  # an id is never ""
    assert has(changed, "timeout") and changed.timeout == 0
    assert stamp(changed.metadata.updated_at) > stamp(made.metadata.updated_at)
    again = rpc.call("UpdateSession", id=made.metadata.id, prompt="")
    assert again == changed  # nothing changed, not even updated_at
    assert rpc.error("UpdateSession", id=made.metadata.id, name="") == (INVALID, "name is required")
    assert rpc.error("UpdateSession", id=made.metadata.id, name="x" * 256)[0] == INVALID


def test_session_update_cannot_move_it(rpc, project):
    made = rpc.call("CreateSession", name="m")
    assert not has(rpc.call("UpdateSession", id=made.metadata.id, project_id=project), "project_id")


def test_session_status(rpc):
    made = rpc.call("CreateSession", name="st")
    request = METHODS["UpdateSessionStatus"].request(id=made.metadata.id, phase="Running", sdk_restart_count=2)
    request.start_time.seconds, request.start_time.nanos = 1_775_001_600, 500_000_999
    running = rpc.call("UpdateSessionStatus", request)
    assert running.phase == "Running" and running.sdk_restart_count == 2
    assert (running.start_time.seconds, running.start_time.nanos) == (1_775_001_600, 500_000_000)
    assert rpc.error("UpdateSessionStatus", id=made.metadata.id) == (INVALID, STATUS_FIELDS)
    assert rpc.error("UpdateSessionStatus", id=made.metadata.id, phase="X") == (
        INVALID, f'invalid phase "X"; must be one of: {PHASES}')
    assert rpc.error("UpdateSessionStatus", id=made.metadata.id, kube_namespace="evil.example/?")[0] == INVALID
    assert rpc.call("UpdateSessionStatus", id=made.metadata.id, phase="Completed").phase == "Completed"
    code, _ = rpc.error("UpdateSessionStatus", id=made.metadata.id, phase="Running")
    assert code == EXISTS  # a conflict: terminal phases stay
    assert rpc.error("UpdateSessionStatus", id="nope", phase="Running")[0] == NOT_FOUND


@pytest.mark.parametrize("seconds, nanos", [(2**62, 0), (-2**62, 0), (0, -1), (0, 2**31 - 1)])
def test_session_times_are_checked(rpc, seconds, nanos):
    made = rpc.call("CreateSession", name="t")
    request = METHODS["UpdateSessionStatus"].request(id=made.metadata.id)
    request.completion_time.seconds, request.completion_time.nanos = seconds, nanos
    with pytest.raises(grpc.RpcError) as refused:
        rpc.call("UpdateSessionStatus", request)
    assert refused.value.code() == INVALID


def test_session_delete_is_idempotent(rpc):
    made = rpc.call("CreateSession", name="d")
    rpc.call("DeleteSession", id=made.metadata.id)
    assert rpc.error("GetSession", id=made.metadata.id)[0] == NOT_FOUND
    rpc.call("DeleteSession", id=made.metadata.id)
    rpc.call("DeleteSession", id="never-was")


def test_create_can_be_repeated_with_a_key(rpc):
    for key_name in ("x-ambient-idempotency-key", "idempotency-key"):
        key = [(key_name, f"key-of-{key_name}")]
        first = rpc.call("CreateSession", None, key, name="once")
        assert rpc.call("CreateSession", None, key, name="once").metadata.id == first.metadata.id
    assert rpc.error("CreateSession", [("idempotency-key", "k" * 256)], name="x")[0] == INVALID


# ---- lists ----

def test_list_pages(rpc, name):
    ids = [rpc.call("CreateUser", username=f"{name}-{i}", name="n").metadata.id for i in range(7)]
    everything = rpc.call("ListUsers", page=1, size=500)
    total = everything.metadata.total
    assert total >= 7 and everything.metadata.size == len(everything.items) == total
    created = [u.metadata.id for u in everything.items]
    assert [i for i in created if i in ids] == ids  # created_at ascending
    seen, page = [], 1
    while len(seen) < total:
        got = rpc.call("ListUsers", page=page, size=3)
        assert (got.metadata.page, got.metadata.total, got.metadata.size) == (page, total, len(got.items))
        seen += [u.metadata.id for u in got.items]
        page += 1
    assert seen == created
    past = rpc.call("ListUsers", page=page + 5, size=3)
    assert (len(past.items), past.metadata.size, past.metadata.total) == (0, 0, total)


@pytest.mark.parametrize("page, size, expected_page, expected_size", [
    (0, 0, 1, 20), (-5, -1, 1, 20), (1, 500, 1, 25), (1, 501, 1, 25), (1, 2**31 - 1, 1, 25), (2, 0, 2, 5),
    (2**31 - 1, 500, 2**31 - 1, 0)])
def test_list_sizes(tmp_path, page, size, expected_page, expected_size):
    with api_support.running(tmp_path) as server, rpc_support.connected(server) as rpc:
        for i in range(25):
            rpc.call("CreateProject", name=f"project-{i}")
        got = rpc.call("ListProjects", page=page, size=size)
        assert (got.metadata.page, got.metadata.size, got.metadata.total) == (expected_page, expected_size, 25)
        assert len(got.items) == expected_size


def test_list_that_is_too_large_for_a_message_says_so(tmp_path):
    with api_support.running(tmp_path) as server, rpc_support.connected(server) as rpc:
        for _ in range(5):
            rpc.call("CreateSession", name="big", prompt="x" * 1_000_000)
        code, text = rpc.error("ListSessions", page=1, size=5)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "smaller size" in text
        assert len(rpc.call("ListSessions", page=1, size=3).items) == 3


# ---- projects ----

def test_project(rpc, api, name):
    made = rpc.call("CreateProject", name=name + "-p", display_name="ignored", description="d", labels="{}")
    check_metadata(made, "Project", "projects", name + "-p")
    assert made.name == name + "-p" and made.description == "d" and made.labels == "{}"
    assert not has(made, "display_name") and not has(made, "status")
    got = rpc.call("GetProject", id=name + "-p")
    assert got == made
    changed = rpc.call("UpdateProject", id=name + "-p", status="busy", display_name="x", name=name + "-p")
    assert changed.status == "busy" and not has(changed, "display_name")
    assert api.ok("GET", f"/projects/{name}-p")["status"] == "busy"
    assert name + "-p" in [p.name for p in rpc.call("ListProjects", size=500).items]
    rpc.call("DeleteProject", id=name + "-p")
    assert rpc.error("GetProject", id=name + "-p") == (NOT_FOUND, f"Project with id='{name}-p' not found")
    rpc.call("DeleteProject", id=name + "-p")
    assert rpc.call("CreateProject", name=name + "-p").name == name + "-p"  # the name is free again


def test_project_refusals(rpc, project):
    length = "project name must be between 2 and 63 characters"
    pattern = ("project name must match DNS-1123 label format: lowercase alphanumeric and hyphens, must start with a "
               "letter and end with an alphanumeric character")
    assert rpc.error("CreateProject") == (INVALID, "name is required")
    assert rpc.error("CreateProject", name="a") == (INVALID, length)
    assert rpc.error("CreateProject", name="a" * 64) == (INVALID, length)
    assert rpc.error("CreateProject", name="A-b") == (INVALID, pattern)
    assert rpc.error("CreateProject", name=project) == (EXISTS, "This Project already exists")
    assert rpc.error("UpdateProject", id=project, name="other") == (INVALID, "project name is immutable")
    assert rpc.error("UpdateProject", id=project, name="A") == (INVALID, length)
    for method in ("GetProject", "UpdateProject", "DeleteProject"):
        assert rpc.error(method) == (INVALID, "id is required"), method


# ---- settings and users ----

def test_project_settings(rpc, project):
    made = rpc.call("CreateProjectSettings", project_id=project, group_access="[]")
    check_metadata(made, "ProjectSettings", "project_settings")
    assert made.project_id == project and made.group_access == "[]" and not has(made, "repositories")
    got = rpc.call("GetProjectSettings", id=made.metadata.id)
    assert got == made
    changed = rpc.call("UpdateProjectSettings", id=made.metadata.id, repositories="[1]", project_id="other")
    assert changed.project_id == project and changed.repositories == "[1]"
    assert rpc.error("CreateProjectSettings", project_id=project) == (EXISTS, "This ProjectSettings already exists")
    rpc.call("DeleteProjectSettings", id=made.metadata.id)
    assert rpc.error("GetProjectSettings", id=made.metadata.id)[0] == NOT_FOUND
    assert rpc.call("CreateProjectSettings", project_id=project).project_id == project
    assert project in [s.project_id for s in rpc.call("ListProjectSettings", size=500).items]


def test_project_settings_refusals(rpc):
    assert rpc.error("CreateProjectSettings") == (INVALID, "project_id is required")
    assert rpc.error("CreateProjectSettings", project_id="nope") == (NOT_FOUND, "Project with id='nope' not found")
    for method in ("GetProjectSettings", "UpdateProjectSettings", "DeleteProjectSettings"):
        assert rpc.error(method) == (INVALID, "id is required"), method


def test_user(rpc, name):
    made = rpc.call("CreateUser", username=name, name="Ada", email="")
    check_metadata(made, "User", "users")
    assert (made.username, made.name) == (name, "Ada") and has(made, "email")
    got = rpc.call("GetUser", id=made.metadata.id)
    assert got == made
    assert rpc.call("UpdateUser", id=made.metadata.id, name="Ada L").name == "Ada L"
    assert rpc.error("CreateUser", username=name, name="x") == (EXISTS, "This User already exists")
    rpc.call("DeleteUser", id=made.metadata.id)
    assert rpc.error("GetUser", id=made.metadata.id)[0] == NOT_FOUND
    assert rpc.call("CreateUser", username=name, name="again").username == name


def test_user_refusals(rpc, name):
    assert rpc.error("CreateUser", name="n") == (INVALID, "username is required")
    assert rpc.error("CreateUser", username="u") == (INVALID, "name is required")
    assert rpc.error("CreateUser", username="u" * 256, name="n") == (INVALID,
                                                                    "username exceeds maximum length of 255")
    for method in ("GetUser", "UpdateUser", "DeleteUser"):
        assert rpc.error(method) == (INVALID, "id is required"), method


# ---- bytes that are no request ----

def check_no_message(rpc, method, body):
    kind = rpc.channel.unary_stream if method.is_stream else rpc.channel.unary_unary
    stub = kind(method.path, lambda b: b, method.response.FromString)
    with pytest.raises(grpc.RpcError) as refused:
        answer = stub(body, timeout=20)
        if method.is_stream:
            next(answer)
    assert refused.value.code() == grpc.StatusCode.INTERNAL, method.path


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0b"])
def test_bytes_that_are_no_message(rpc, body):
    for method in METHODS.values():
        check_no_message(rpc, method, body)


@pytest.mark.parametrize("body", [b"\x0a\x02\xff\xfe", b"\x0a\x01\x00"])
def test_strings_that_are_no_text(rpc, body):
    """Not UTF-8, and NUL, which our store cannot keep."""
    for method in METHODS.values():
        first = method.request.DESCRIPTOR.fields_by_number.get(1)
        if first is not None and first.type == first.TYPE_STRING:
            check_no_message(rpc, method, body)
