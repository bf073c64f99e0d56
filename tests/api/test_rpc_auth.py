"""Who may call what over gRPC: every method, every kind of caller. grpc.md 3."""
import time

import grpc
import pytest

from api_support import AUDIENCE, ISSUER, wait_for
from rpc_support import METHODS

UNAUTHENTICATED, DENIED, NOT_FOUND = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED,
                                      grpc.StatusCode.NOT_FOUND)


# ---- tokens ----

@pytest.mark.parametrize("method", sorted(METHODS))
def test_without_a_token_nothing_answers(rpc_as, method):
    assert rpc_as().error(method) == (UNAUTHENTICATED, "missing authorization token")
    code, text = rpc_as(token="a.b.c").error(method)
    assert code == UNAUTHENTICATED and text.startswith("invalid token: ")


def test_bad_tokens(rpc_as, keys, jwt_server):
    good = {"iss": ISSUER, "aud": AUDIENCE}
    cases = [
        (keys.token("u", **good, exp=int(time.time()) - 120), "invalid token: token is expired"),
        (keys.token("u", **good, nbf=int(time.time()) + 120), "invalid token: token is not valid yet"),
        (keys.token("u", iss="https://other", aud=AUDIENCE), "invalid token: token has another issuer"),
        (keys.token("u", iss=ISSUER, aud="other"), "invalid token: token is for another audience"),
        (keys.token("u", **good, key=keys.stranger), "invalid token: signature is invalid"),
        (keys.token("u", **good, kid="unknown"), "invalid token: signing key is not known"),
        (keys.token("u", "HS256", key="secret", kid="r1", **good), "invalid token: signing method HS256 is invalid"),
        (keys.token(None, **good), "token missing username claim"),
        ("x" * 17000, "invalid token: token is too long"),
        ("admin-secre", "invalid token: token contains an invalid number of segments"),
        ("admin-secret2", "invalid token: token contains an invalid number of segments"),
    ]
    for token, text in cases:
        assert rpc_as(token=token).error("ListProjects") == (UNAUTHENTICATED, text)


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "ES256", "EdDSA"])
def test_good_tokens(rpc_as, keys, alg):
    token = keys.token("u", alg, iss=ISSUER, aud=AUDIENCE, exp=int(time.time()) - 30)  # within the leeway
    assert rpc_as(token=token).call("ListProjects").metadata.total == 0


def test_forms_of_the_header(jwt_server, rpc_as):
    for value in ("Bearer admin-secret", "bearer admin-secret", "BEARER  admin-secret ", "admin-secret"):
        rpc_as(metadata=[("authorization", value)]).call("ListProjects")
    # some clients send it twice: the first counts
    rpc_as(metadata=[("authorization", "Bearer admin-secret"), ("authorization", "Bearer x")]).call("ListProjects")
    assert rpc_as(metadata=[("authorization", "Basic YTpi")]).error("ListProjects") == (
        UNAUTHENTICATED, "missing authorization token")


# ---- what each caller may ----

@pytest.fixture
def world(rpc_as, as_user, as_admin, name):
    """Alice's project with a session, settings and an agent; a session of hers outside of it. Eve is a stranger."""
    alice = rpc_as(f"alice-{name}")
    for person in ("alice", "eve"):
        as_user(f"{person}-{name}").ok("GET", "/projects")  # over REST a row of users is made
    project = alice.call("CreateProject", name=f"p-{name}").metadata.id
    return {
        "alice": alice,
        "project": project,
        "session": alice.call("CreateSession", name="in project", project_id=project).metadata.id,
        "loose": alice.call("CreateSession", name="of nobody's project").metadata.id,
        "settings": alice.call("CreateProjectSettings", project_id=project).metadata.id,
        "agent": as_admin.agent(project, "a")["id"],
        "user": next(u for u in rpc_as(token="admin-secret").call("ListUsers", size=500).items
                     if u.username == f"alice-{name}").metadata.id,
    }


def unary_calls(world):
    """(method, request, text of a denied read or None for a write)"""
    def gone(kind, key):
        return f"{kind} with id='{world[key]}' not found"
    return [
        ("GetSession", {"id": world["session"]}, gone("Session", "session")),
        ("GetSession", {"id": world["loose"]}, gone("Session", "loose")),
        ("UpdateSession", {"id": world["session"], "name": "x"}, None),
        ("UpdateSession", {"id": world["loose"], "name": "x"}, None),
        ("DeleteSession", {"id": world["session"]}, None),
        ("CreateSession", {"name": "x", "project_id": world["project"]}, None),
        ("PushSessionMessage", {"session_id": world["session"], "event_type": "user"}, None),
        ("GetProject", {"id": world["project"]}, gone("Project", "project")),
        ("UpdateProject", {"id": world["project"], "status": "x"}, None),
        ("DeleteProject", {"id": world["project"]}, None),
        ("GetProjectSettings", {"id": world["settings"]}, gone("ProjectSettings", "settings")),
        ("UpdateProjectSettings", {"id": world["settings"], "repositories": "[]"}, None),
        ("DeleteProjectSettings", {"id": world["settings"]}, None),
        ("GetUser", {"id": world["user"]}, gone("User", "user")),
        ("UpdateUser", {"id": world["user"], "name": "x"}, None),
        ("DeleteUser", {"id": world["user"]}, None),
        ("CreateUser", {"username": "x", "name": "x"}, None),
        ("UpdateSessionStatus", {"id": world["session"], "phase": "Running"}, None),
    ]


def test_strangers_may_nothing(world, rpc_as, name):
    eve = rpc_as(f"eve-{name}")
    for method, request, hidden in unary_calls(world):
        answer = eve.error(method, **request)
        if hidden:
            assert answer == (NOT_FOUND, hidden), method
        else:
            assert answer[0] in (DENIED, NOT_FOUND), (method, answer)
    for method in ("ListSessions", "ListProjects", "ListProjectSettings"):
        answer = eve.call(method)
        assert (len(answer.items), answer.metadata.total) == (0, 0), method
    assert [u.username for u in eve.call("ListUsers").items] == [f"eve-{name}"]
    for session in ("session", "loose"):
        assert eve.error("WatchSessionMessages", session_id=world[session]) == (
            NOT_FOUND, f"Session with id='{world[session]}' not found")  # D52: as one that is not there
    assert eve.error("WatchInboxMessages", agent_id=world["agent"]) == (
        DENIED, "only service callers may watch inbox streams")
    # and all is as it was
    alice = world["alice"]
    assert alice.call("GetSession", id=world["session"]).name == "in project"
    assert alice.call("GetProject", id=world["project"]).metadata.id == world["project"]


def test_the_owner_may_all_but_what_is_the_platforms(world, rpc_as):
    alice = world["alice"]
    assert alice.error("UpdateSessionStatus", id=world["session"], phase="Running")[0] == DENIED
    assert alice.error("CreateUser", username="x", name="x")[0] == DENIED
    assert alice.error("DeleteUser", id=world["user"])[0] == DENIED
    assert alice.error("WatchUsers") == (DENIED, "user watch requires admin privileges")
    assert alice.call("UpdateSession", id=world["session"], name="mine").name == "mine"
    assert alice.call("UpdateProject", id=world["project"], status="s").status == "s"
    assert alice.call("GetUser", id=world["user"]).metadata.id == world["user"]
    assert {s.metadata.id for s in alice.call("ListSessions").items} == {world["session"], world["loose"]}
    assert [p.name for p in alice.call("ListProjects").items] == [world["project"]]
    assert [s.metadata.id for s in alice.call("ListProjectSettings").items] == [world["settings"]]
    assert alice.push(world["loose"], "hi", "user").seq == 1
    assert alice.watch("WatchSessionMessages", session_id=world["loose"]).next().payload == "hi"
    alice.watch("WatchInboxMessages", agent_id=world["agent"])
    for method, key in (("DeleteSession", "loose"), ("DeleteProjectSettings", "settings"),
                        ("DeleteProject", "project")):
        alice.call(method, id=world[key])


# What a static token of the platform may: it carries sessions out, it makes and deletes nothing.
SERVICE_MAY = {"GetSession", "GetProject", "GetProjectSettings", "GetUser", "UpdateSession", "UpdateSessionStatus"}


@pytest.mark.parametrize("token", ["admin-secret", "service-secret"])
def test_the_platform_and_the_administrator(world, rpc_as, token):
    caller = rpc_as(token=token)
    for method, request, _ in unary_calls(world):
        if token == "service-secret" and method not in SERVICE_MAY:
            assert caller.error(method, **request)[0] == DENIED, method
            continue
        if method.startswith("Delete"):
            continue
        if method in ("CreateUser", "UpdateUser"):
            request = {**request, "username": token, "name": "x"}
            if method == "UpdateUser":
                del request["username"]
        caller.call(method, **request)
    assert world["session"] in {s.metadata.id for s in caller.call("ListSessions", size=500).items}
    for method in ("WatchSessions", "WatchProjects", "WatchProjectSettings", "WatchUsers"):
        caller.watch(method)
    caller.watch("WatchSessionMessages", session_id=world["session"])
    caller.watch("WatchInboxMessages", agent_id=world["agent"])


def test_the_service_account_is_the_platform(world, rpc_as):
    for uid, caller in (("u1", rpc_as("x", client_id="platform")), ("u2", rpc_as("service-account-platform"))):
        caller.call("UpdateSessionStatus", id=world["session"], kube_cr_uid=uid)
        assert caller.error("PushSessionMessage", session_id=world["session"], event_type="user") == (
            DENIED, "service token may not push event_type=user")
        caller.push(world["session"], "fine", "assistant")
    impostor = rpc_as("service-account-platform2")
    assert impostor.error("UpdateSessionStatus", id=world["session"], phase="Running")[0] == DENIED
    # one claim decides who it is
    assert rpc_as("platform").error("UpdateSessionStatus", id=world["session"], phase="Running")[0] == DENIED
    assert rpc_as("mallory", preferred_username="platform").error(
        "UpdateSessionStatus", id=world["session"], phase="Running")[0] == DENIED


def test_service_callers_may_not_push_user_messages(world, rpc_as):
    service = rpc_as(token="service-secret")
    assert service.error("PushSessionMessage", session_id=world["session"], event_type="user") == (
        DENIED, "service token may not push event_type=user")


def test_watches_show_what_the_caller_may_see(world, rpc_as, name):
    alice, eve = world["alice"], rpc_as(f"eve-{name}")
    hers, eves = alice.watch("WatchSessions"), eve.watch("WatchSessions")
    alice.call("CreateSession", name="alice's", project_id=world["project"])
    alice.call("UpdateSession", id=world["loose"], name="changed")
    alice.call("DeleteSession", id=world["loose"])
    eve.call("CreateSession", name="eve's")
    assert hers.next().session.name == "alice's"
    seen = [hers.next()]
    while seen[-1].resource_id != world["loose"] or seen[-1].HasField("session"):
        seen.append(hers.next())  # deletions are told too
    assert {e.resource_id for e in seen} == {world["loose"]}
    assert eves.next().session.name == "eve's"


def test_the_service_is_not_narrowed_by_the_header(world, rpc_as):
    service = rpc_as(token="service-secret", metadata=[("x-ambient-project", "default")])
    watch = service.watch("WatchSessions")
    made = world["alice"].call("CreateSession", name="elsewhere", project_id=world["project"])
    assert watch.next().resource_id == made.metadata.id


def test_watches_of_one_user_are_bounded(world, jwt_server):
    """1000; a connection holds 256 streams, so it takes several."""
    alice, method, calls = world["alice"], METHODS["WatchProjects"], []
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(f"127.0.0.1:{jwt_server.ports['grpc']}", options) for _ in range(5)]
    for channel in channels:
        watch = channel.unary_stream(method.path, method.request.SerializeToString, method.response.FromString)
        calls += [watch(method.request(), metadata=alice.metadata) for _ in range(220)]
    refused = wait_for(lambda: len(done := [c for c in calls if c.done()]) == 100 and done, "100 refusals")
    assert {c.code() for c in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    for channel in channels:
        channel.close()

    def room_again():
        watch = alice.stream("WatchProjects")
        watch.call.initial_metadata()
        return not watch.call.done()
    wait_for(room_again, "room for another watch")


# ---- health and reflection ----

def test_health_needs_no_token(rpc_as):
    channel = rpc_as().channel
    check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda b: b, lambda b: b)
    assert check(b"", timeout=20) == b"\x08\x01"
    assert check(b"\x0a\x19ambient.v1.SessionService", timeout=20) == b"\x08\x01"
    with pytest.raises(grpc.RpcError) as refused:
        check(b"\x0a\x01x", timeout=20)
    assert refused.value.code() == NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_needs_one_and_lists_the_services(rpc_as, version):
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    anonymous = rpc_as().channel.stream_stream(path, lambda b: b, lambda b: b)
    with pytest.raises(grpc.RpcError) as refused:
        next(anonymous(iter([b"\x3a\x00"]), timeout=20))
    assert refused.value.code() == UNAUTHENTICATED
    rpc = rpc_as(token="admin-secret")
    ask = rpc.channel.stream_stream(path, lambda b: b, lambda b: b)
    answer = next(ask(iter([b"\x3a\x00"]), timeout=20, metadata=rpc.metadata))
    for service in ("Session", "Project", "ProjectSettings", "User", "Inbox"):
        assert f"ambient.v1.{service}Service".encode() in answer


# ---- what is not there ----

def test_unknown_methods(rpc_as):
    rpc = rpc_as(token="admin-secret")
    for path, text in (("/ambient.v1.SessionService/Nope", "unknown method Nope for service ambient.v1.SessionService"),
                       ("/ambient.v1.NopeService/Get", "unknown service ambient.v1.NopeService")):
        with pytest.raises(grpc.RpcError) as refused:
            rpc.channel.unary_unary(path, lambda b: b, lambda b: b)(b"", timeout=20, metadata=rpc.metadata)
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)
