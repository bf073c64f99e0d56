"""Nothing that was acknowledged is lost, nothing is half, and each watcher sees each message once and in order, however
often the server is killed meanwhile."""
import hashlib
import json
import os
import pathlib
import queue
import random
import subprocess
import sys
import threading
import time
import zlib

import api_support
import chaos_support
import grpc
import pytest

KILLS = int(os.environ.get("AMBIENT_CHAOS_KILLS", "200"))
PUSHERS, WATCHERS, WATCHER_PROCESSES = 64, 200, 4
STOP = None


def payload_of(pusher, number):
    """Text that tells whether it is whole; some of it longer than a page of the store."""
    body = f"{pusher}.{number}." + "x" * (zlib.crc32(f"{pusher}.{number}".encode()) % 6000)
    return f"{body}.{zlib.crc32(body.encode())}"


def is_whole(payload):
    body, _, check = payload.rpartition(".")
    return str(zlib.crc32(body.encode())) == check


class Pusher(threading.Thread):
    """A connection that pushes once for each token. Three of four have request ids and try again until they are
    answered; the others do not know what became of a push that was cut."""

    def __init__(self, number, target, session_id, pb):
        super().__init__(daemon=True)
        self.number, self.session_id, self.pb = number, session_id, pb
        self.channel = grpc.insecure_channel(target, chaos_support.CHANNEL)
        self.push = chaos_support.push_stub(self.channel, pb)
        self.tokens, self.acked, self.cut, self.error = queue.SimpleQueue(), {}, [], None

    def once(self, payload, metadata):
        request = self.pb.PushSessionMessageRequest(session_id=self.session_id, event_type="text", payload=payload)
        try:
            return self.push(request, metadata=metadata, wait_for_ready=True, timeout=30)
        except grpc.RpcError as e:
            assert e.code() in chaos_support.CUT, f"{e.code()}: {e.details()}"
            return None

    def say(self, number):
        payload = payload_of(self.number, number)
        if self.number % 4 == 0:
            answer = self.once(payload, [])
        else:
            answer = None
            while answer is None:
                answer = self.once(payload, [("x-ambient-idempotency-key", f"{self.number}-{number}")])
        if answer is None:
            self.cut.append(payload)
        else:
            assert answer.payload == payload
            self.acked[answer.seq] = payload

    def run(self):
        number = 0
        try:
            while self.tokens.get() is not STOP:
                self.say(number)
                number += 1
        except AssertionError as e:
            self.error = str(e)


def start_watchers(protos, target, session_id):
    program = str(pathlib.Path(__file__).parent / "watch_messages.py")
    share = WATCHERS // WATCHER_PROCESSES
    return [subprocess.Popen([sys.executable, program, str(protos), target, session_id, str(i * share), str(share)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for i in range(WATCHER_PROCESSES)]


def reports_of(watchers):
    for process in watchers:
        process.stdin.write("the storm is over\n")
        process.stdin.flush()
    return [report for process in watchers for report in json.loads(process.communicate(timeout=90)[0])]


def storm(server, pushers):
    """Kills the server at random moments. Sometimes all push at once, sometimes a few."""
    chance = random.Random(1)
    for kill in range(KILLS):
        for pusher in pushers if kill % 10 == 0 else chance.sample(pushers, 4):
            pusher.tokens.put(kill)
        time.sleep(chance.uniform(0, 0.25))  # the moment of the kill, not a wait for anything
        server.kill()
        server.start()


def check_pushes(pushers, stored):
    payloads = [message["payload"] for message in stored]
    for pusher in pushers:
        assert not pusher.error, pusher.error
        for seq, payload in pusher.acked.items():
            assert payloads[seq - 1] == payload, f"message {seq} was acknowledged and is not there"
    assert len(set(payloads)) == len(payloads), "a push was stored twice"
    assert all(map(is_whole, payloads))
    acked = sum(len(pusher.acked) for pusher in pushers)
    assert acked < len(stored) <= acked + 1 + sum(len(pusher.cut) for pusher in pushers)  # and the end


def check_watchers(reports, stored):
    digest = hashlib.sha256()
    for m in stored:
        digest.update(f"{m['seq']} {m['id']} {m['event_type']} {m['payload']}\n".encode())
    for report in reports:
        assert not report["error"], report
        assert report["seq"] == len(stored), report
        assert report["digest"] == digest.hexdigest()


@pytest.mark.timeout(300)
def test_kill_9_while_many_push_and_watch(tmp_path, protos):
    pb = chaos_support.load_sessions(protos)
    target = f"127.0.0.1:{api_support.free_port()}"  # clients come back to where they were
    with api_support.running(tmp_path, [f"--grpc-server-bindaddress={target}"]) as server:
        client = server.client()
        session_id = client.session()["id"]
        watchers = start_watchers(protos, target, session_id)
        try:
            pushers = [Pusher(i, target, session_id, pb) for i in range(PUSHERS)]
            for pusher in pushers:
                pusher.start()
            storm(server, pushers)
            for pusher in pushers:
                pusher.tokens.put("last words")
                pusher.tokens.put(STOP)
            for pusher in pushers:
                pusher.join(60)
                assert not pusher.is_alive(), "a push is not answered"
            end = pb.PushSessionMessageRequest(session_id=session_id, event_type="end", payload=payload_of("end", 0))
            pushers[0].push(end, wait_for_ready=True, timeout=30)
            stored = server.client().messages(session_id)
            assert [m["seq"] for m in stored] == list(range(1, len(stored) + 1))
            reports = reports_of(watchers)
        finally:
            for process in watchers:
                process.kill()
        check_pushes(pushers, stored)
        check_watchers(reports, stored)
        print(f"{len(stored)} messages, {sum(len(p.cut) for p in pushers)} pushes without an answer, "
              f"{sum(r['streams'] for r in reports)} streams")
    verified = server.run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
