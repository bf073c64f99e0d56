"""Pushing and following a session's messages. grpc.md 7."""
import concurrent.futures
import json

import grpc
import pytest

from rpc_support import stamp

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PAYLOAD_MAX = 4 * 1024 * 1024 - 1024


@pytest.fixture
def session(rpc):
    return rpc.session().metadata.id


def payloads(messages):
    return [m.payload for m in messages]


def test_push_answers_with_what_was_stored(rpc, api, session):
    pushed = rpc.push(session, "hello \u00fc\U0001f600", "assistant")
    assert (pushed.session_id, pushed.event_type, pushed.payload) == (session, "assistant", "hello \u00fc\U0001f600")
    assert len(pushed.id) == 27 and pushed.seq == 1
    assert stamp(pushed.created_at) > 0 and pushed.created_at.nanos % 1000 == 0
    stored = api.messages(session)[0]
    assert (stored["id"], stored["seq"], stored["payload"]) == (pushed.id, 1, pushed.payload)
    assert rpc.push(session, "").seq == 2
    assert rpc.push(session, "x", "any.type-of event \u00e9").seq == 3


def test_push_refusals(rpc, session):
    assert rpc.error("PushSessionMessage") == (INVALID, "session_id is required")
    assert rpc.error("PushSessionMessage", session_id=session) == (INVALID, "event_type is required")
    assert rpc.error("PushSessionMessage", session_id="nope", event_type="x")[0] == NOT_FOUND
    assert rpc.error("PushSessionMessage", session_id=session, event_type="x" * 256)[0] == INVALID
    assert rpc.error("PushSessionMessage", session_id=session, event_type="a\nb")[0] == INVALID
    assert rpc.push(session, "first").seq == 1  # none of them was stored


def test_push_to_a_deleted_session(rpc, session):
    rpc.call("DeleteSession", id=session)
    assert rpc.error("PushSessionMessage", session_id=session, event_type="x")[0] == NOT_FOUND


def test_large_payloads(rpc, session):
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    large = "x" * PAYLOAD_MAX
    assert rpc.push(session, large).seq == 1
    assert watch.next().payload == large  # fits what clients take
    code, _ = rpc.error("PushSessionMessage", session_id=session, event_type="x", payload=large + "y")
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc.push(session, "next").seq == 2


def test_push_can_be_repeated_with_a_key(rpc, session):
    key = [("x-ambient-idempotency-key", "once")]
    first = rpc.push(session, "p", metadata=key)
    again = rpc.push(session, "p", metadata=key)
    assert again == first
    assert rpc.push(session, "p", metadata=[("idempotency-key", "other")]).seq == 2
    other = rpc.session().metadata.id
    assert rpc.push(other, "p", metadata=key).session_id == other  # a key counts within its session


def test_replay_then_live(rpc, session):
    for i in range(3):
        rpc.push(session, f"old{i}", "system")
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    assert payloads(watch.take(3)) == ["old0", "old1", "old2"]
    pushed = rpc.push(session, "live")
    live = watch.next()
    assert live == pushed


@pytest.mark.parametrize("after, first", [(0, 1), (-1, 1), (-2**63, 1), (2, 3), (4, 5), (5, 6)])
def test_after_seq(rpc, session, after, first):
    for i in range(1, 6):
        rpc.push(session, str(i))
    watch = rpc.watch("WatchSessionMessages", session_id=session, after_seq=after)
    rpc.push(session, "6")
    assert [m.seq for m in watch.take(7 - first)] == list(range(first, 7))


def test_long_history_comes_whole_and_in_order(rpc, session):
    n = 1500
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: rpc.push(session, f"{i} " + "x" * 2000), range(n)))
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    messages = watch.take(n)
    assert [m.seq for m in messages] == list(range(1, n + 1))
    assert sorted(int(m.payload.split()[0]) for m in messages) == list(range(n))


def test_watching_while_others_push(rpc, session):
    watches = [rpc.stream("WatchSessionMessages", session_id=session) for _ in range(5)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda i: rpc.push(session, str(i)), range(300)))
        late = rpc.watch("WatchSessionMessages", session_id=session, after_seq=100)
    for watch in watches:
        assert [m.seq for m in watch.take(300)] == list(range(1, 301))
    assert [m.seq for m in late.take(200)] == list(range(101, 301))


def test_sessions_do_not_mix(rpc, session):
    other = rpc.session().metadata.id
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    rpc.push(other, "theirs")
    rpc.push(session, "mine")
    assert watch.next().payload == "mine"


def test_rest_messages_are_seen(rpc, api, session):
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    api.push(session, "from rest")
    message = watch.next()
    assert (message.event_type, message.payload) == ("user", "from rest")


def test_watch_refusals(rpc):
    assert rpc.error("WatchSessionMessages") == (INVALID, "session_id is required")
    assert rpc.error("WatchSessionMessages", session_id="nope") == (NOT_FOUND, "Session with id='nope' not found")


def test_headers_come_before_any_message(rpc, session):
    rpc.stream("WatchSessionMessages", session_id=session).call.initial_metadata()


def test_deleting_the_session_ends_its_watches(rpc, session):
    rpc.push(session, "last")
    watch = rpc.watch("WatchSessionMessages", session_id=session)
    assert watch.next().payload == "last"
    rpc.call("DeleteSession", id=session)
    assert watch.error()[0] == NOT_FOUND


# ---- inbox ----

@pytest.fixture
def agent(api, project):
    return project, api.agent(project, "a")["id"]


def send(api, agent, body, **fields):
    return api.ok("POST", f"/projects/{agent[0]}/agents/{agent[1]}/inbox",
                  {"agent_id": agent[1], "body": body, **fields})


def test_inbox_begins_with_what_is_unread(rpc, api, agent):
    first = send(api, agent, "first", from_name="Bo")
    read = send(api, agent, "read")
    send(api, agent, "second", read=False)
    api.ok("PATCH", f"/projects/{agent[0]}/agents/{agent[1]}/inbox/{read['id']}", {"read": True})
    watch = rpc.watch("WatchInboxMessages", agent_id=agent[1])
    stored = watch.take(2)
    assert [m.body for m in stored] == ["first", "second"]
    assert (stored[0].id, stored[0].agent_id, stored[0].from_name) == (first["id"], agent[1], "Bo")
    assert not stored[0].HasField("read") and stored[1].HasField("read")
    assert stamp(stored[0].created_at) > 0
    api.ok("PATCH", f"/projects/{agent[0]}/agents/{agent[1]}/inbox/{first['id']}", {"read": True})  # no new message
    send(api, agent, "live")
    assert watch.next().body == "live"


def test_inbox_with_many_unread(rpc, api, agent):
    bodies = [f"m{i}" for i in range(250)]
    for body in bodies:
        send(api, agent, body)
    watch = rpc.watch("WatchInboxMessages", agent_id=agent[1])
    assert [m.body for m in watch.take(250)] == bodies
    send(api, agent, "live")
    assert watch.next().body == "live"


def test_inbox_while_messages_come(rpc, api, agent, server):
    """Each is seen once, whether it was stored before the watch or after."""
    def write(i):
        client = server.client()
        send(client, agent, str(i))
        client.close()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(write, i) for i in range(120)]
        watches = [rpc.stream("WatchInboxMessages", agent_id=agent[1]) for _ in range(3)]
        for w in writes:
            w.result()
    send(api, agent, "end")
    for watch in watches:
        seen = []
        while not seen or seen[-1] != "end":
            seen.append(watch.next().body)
        assert sorted(map(int, seen[:-1])) == list(range(120))


def test_inboxes_do_not_mix(rpc, api, agent):
    other = agent[0], api.agent(agent[0], "b")["id"]
    watch = rpc.watch("WatchInboxMessages", agent_id=agent[1])
    send(api, other, "theirs")
    send(api, agent, "mine")
    assert watch.next().body == "mine"


def test_inbox_refusals(rpc):
    assert rpc.error("WatchInboxMessages") == (INVALID, "agent_id is required")


def test_inbox_of_an_agent_that_is_not_there_is_quiet(rpc):
    rpc.watch("WatchInboxMessages", agent_id="nobody")


def test_only_the_platform_says_what_was_reconciled(rpc_as, as_user):
    """A runner's record of its repositories is the session's state; the same words of a user are words."""
    session = as_user("alice").session()["id"]
    payload = json.dumps({"event": "repositories", "repos": [{"url": "u", "status": "Ready"}], "workflow": None})
    rpc_as("alice").push(session, payload, "lifecycle")
    assert "reconciled_repos" not in as_user("alice").ok("GET", f"/sessions/{session}")
    service = rpc_as(token="service-secret")
    for odd in ('{"event":"repositories"', '{"event":"other","repos":[]}', '["repositories"]', '{"repositories":1}'):
        service.push(session, odd, "lifecycle")
    assert "reconciled_repos" not in as_user("alice").ok("GET", f"/sessions/{session}")
    service.push(session, payload, "lifecycle")
    kept = as_user("alice").ok("GET", f"/sessions/{session}")
    assert json.loads(kept["reconciled_repos"]) == [{"url": "u", "status": "Ready"}]
