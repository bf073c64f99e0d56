"""Three servers on one PostgreSQL: any of them is killed, and PostgreSQL itself. Nothing that was acknowledged is lost,
nothing is there twice, each watcher sees each message once and in order, wherever it was pushed, and an agent that is
started everywhere at once runs once."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

import api_support
import chaos_support
import grpc
import postgres
import pytest
import test_messages

KILLS = int(os.environ.get("AMBIENT_CHAOS_REPLICA_KILLS", "24"))
PUSHERS, WATCHERS, WATCHER_PROCESSES = 24, 48, 3

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


class Cluster:
    def __init__(self, directory, database):
        self.database, self.servers = database, []
        url = database.url(database.database())
        for i in range(3):
            place = directory / f"server{i}"
            place.mkdir()
            ports = [f"--{name}-bindaddress=127.0.0.1:{api_support.free_port()}"  # clients come back to where they were
                     for name in ("grpc-server", "api-server")]
            self.servers.append(api_support.ApiServer(place, ports, url=url))
        migrated = self.servers[0].run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        for server in self.servers:
            server.start()

    @property
    def targets(self):
        return [f"127.0.0.1:{server.ports['grpc']}" for server in self.servers]

    def kill_server(self, chance):
        server = chance.choice(self.servers)
        server.kill()
        server.start()

    def kill_database(self):
        self.database.kill()
        self.database.start()

    def settle(self):
        """Every server is over it that PostgreSQL was away: until it tries again, calls are told 503."""
        for server in self.servers:
            client = server.client()
            api_support.wait_for(lambda c=client: all(c.get("/projects").status == 200 for _ in range(20)),
                                 "a server that has its database")
            api_support.wait_for(lambda c=client: c.post("/projects", {}).status == 400, "a server that writes")
            client.close()

    def stop(self):
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with postgres.running() as database:
        running = Cluster(tmp_path_factory.mktemp("replicas"), database)
        yield running
        running.stop()


class Pusher(test_messages.Pusher):
    """Goes to the next server after each push that was cut."""

    def __init__(self, number, targets, session_id, pb):
        super().__init__(number, targets[0], session_id, pb)
        self.channels = [grpc.insecure_channel(target, chaos_support.CHANNEL) for target in targets]
        self.stubs = [chaos_support.push_stub(channel, pb) for channel in self.channels]
        self.turn = number

    def once(self, payload, metadata):
        self.push = self.stubs[self.turn % len(self.stubs)]
        answer = super().once(payload, metadata)
        self.turn += answer is None
        return answer


def start_watchers(protos, targets, session_id):
    program = str(pathlib.Path(__file__).parent / "watch_messages.py")
    share = WATCHERS // WATCHER_PROCESSES
    return [subprocess.Popen([sys.executable, program, str(protos), ",".join(targets), session_id, str(i * share),
                              str(share)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for i in range(WATCHER_PROCESSES)]


def storm(cluster, pushers):
    chance = random.Random(1)
    for kill in range(KILLS):
        for pusher in pushers if kill % 5 == 0 else chance.sample(pushers, 8):
            pusher.tokens.put(kill)
        time.sleep(chance.uniform(0, 0.25))  # the moment of the kill, not a wait for anything
        if kill % 4 == 3:
            cluster.kill_database()
        else:
            cluster.kill_server(chance)


def finish(pushers):
    for pusher in pushers:
        pusher.tokens.put("last words")
        pusher.tokens.put(test_messages.STOP)
    for pusher in pushers:
        pusher.join(60)
        assert not pusher.is_alive(), "a push is not answered"


@pytest.mark.timeout(240)
def test_kill_9_of_any_server_and_of_the_database(cluster, protos):
    pb = chaos_support.load_sessions(protos)
    session_id = cluster.servers[0].client().session()["id"]
    watchers = start_watchers(protos, cluster.targets, session_id)
    try:
        pushers = [Pusher(i, cluster.targets, session_id, pb) for i in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        storm(cluster, pushers)
        finish(pushers)
        end = pb.PushSessionMessageRequest(session_id=session_id, event_type="end",
                                           payload=test_messages.payload_of("end", 0))
        api_support.wait_for(lambda: push_end(pushers[0], end), "the end")
        cluster.settle()
        stored = cluster.servers[1].client().messages(session_id)
        assert [m["seq"] for m in stored] == list(range(1, len(stored) + 1))
        reports = test_messages.reports_of(watchers)
    finally:
        for process in watchers:
            process.kill()
    test_messages.check_pushes(pushers, stored)
    test_messages.check_watchers(reports, stored)
    verified = cluster.servers[2].run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def push_end(pusher, end):
    with contextlib.suppress(grpc.RpcError):
        return pusher.stubs[0](end, metadata=[("x-ambient-idempotency-key", "end")], wait_for_ready=True, timeout=30)


def test_a_start_everywhere_at_once_is_one_start(cluster):
    clients = [cluster.servers[i % 3].client() for i in range(100)]
    clients[0].project("once")
    agent = clients[0].agent("once", "worker", prompt="work")["id"]
    gate = threading.Barrier(len(clients))

    def start(client):
        gate.wait()
        answer = client.post(f"/projects/once/agents/{agent}/start", {})
        return answer.status, answer.json()["session"]["id"]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(start, clients))
    assert sorted(status for status, _ in answers) == [200] * 99 + [201]
    assert len({session for _, session in answers}) == 1
    active = clients[1].items(f"/projects/once/agents/{agent}/sessions")
    assert len(active) == 1
    for client in clients:
        client.close()


def test_changes_are_watched_from_everywhere(cluster, protos):
    """Objects made on each server are told by each server, once and in the order of their making."""
    pb = chaos_support.load_sessions(protos)
    seen = [[] for _ in cluster.servers]
    ready = threading.Barrier(len(cluster.servers) + 1)

    def watch(i):
        channel = grpc.insecure_channel(cluster.targets[i])
        call = channel.unary_stream("/ambient.v1.SessionService/WatchSessions",
                                    request_serializer=pb.WatchSessionsRequest.SerializeToString,
                                    response_deserializer=pb.SessionWatchEvent.FromString)(pb.WatchSessionsRequest())
        call.initial_metadata()
        ready.wait()
        for event in call:
            if event.session.name.startswith("watched"):
                seen[i].append(event.session.name)
            if event.session.name == "watched 29":
                call.cancel()
                return
    threads = [threading.Thread(target=watch, args=(i,), daemon=True) for i in range(len(cluster.servers))]
    for thread in threads:
        thread.start()
    ready.wait()
    clients = [server.client() for server in cluster.servers]
    for i in range(30):
        clients[i % 3].session(name=f"watched {i}")
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), json.dumps(seen)
    assert seen == [[f"watched {i}" for i in range(30)]] * 3
