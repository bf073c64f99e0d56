"""Many watchers of one session, in a process of their own: watch_messages.py PROTOS TARGETS SESSION FIRST COUNT

TARGETS: one server, or several joined by commas; each stream of a watcher then goes to the next of them.

Each follows the session to the message of type "end", and what it saw is written as JSON. Of ten watchers one reads a
message a second, three leave at random and come back with the last seq they saw, and the others stay until they are
cut. A line on standard input says that the storm is over: from then on nobody is slow.
"""
import hashlib
import json
import random
import sys
import threading

import grpc

import chaos_support

PER_CHANNEL = 10


class Watcher(threading.Thread):
    def __init__(self, number, session_id, over, channels, pb):
        super().__init__(daemon=True)
        self.session_id, self.over, self.pb = session_id, over, pb
        self.number = number
        self.open = [chaos_support.watch_stub(channel, pb) for channel in channels]
        self.random = random.Random(number)
        self.slow, self.restless = number % 10 == 0, number % 10 in (1, 2, 3)
        self.seq, self.streams, self.ended, self.error = 0, 0, False, None
        self.digest = hashlib.sha256()

    def take(self, message):
        assert message.seq == self.seq + 1, f"{message.seq} came behind {self.seq}"
        assert message.session_id == self.session_id and message.HasField("created_at")
        self.digest.update(f"{message.seq} {message.id} {message.event_type} {message.payload}\n".encode())
        self.seq = message.seq
        self.ended = message.event_type == "end"

    def follow(self):
        self.streams += 1
        where = self.open[(self.number + self.streams) % len(self.open)]
        call = where(self.pb.WatchSessionMessagesRequest(session_id=self.session_id, after_seq=self.seq))
        try:
            for message in call:
                self.take(message)
                if self.ended or (self.restless and self.random.random() < 0.02):
                    return
                if self.slow:
                    self.over.wait(1)
        finally:
            call.cancel()

    def run(self):
        try:
            while not self.ended:
                try:
                    self.follow()
                except grpc.RpcError as e:
                    assert e.code() in chaos_support.CUT, f"{e.code()}: {e.details()}"
                if not self.ended:
                    threading.Event().wait(self.random.uniform(0, 0.2))  # not all at the same moment
        except AssertionError as e:
            self.error = str(e)

    def report(self):
        return {"seq": self.seq, "streams": self.streams, "error": self.error, "digest": self.digest.hexdigest()}


def main():
    protos, targets, session_id = sys.argv[1:4]
    first, count = int(sys.argv[4]), int(sys.argv[5])
    pb = chaos_support.load_sessions(protos)
    over = threading.Event()
    channels = [[grpc.insecure_channel(target, chaos_support.CHANNEL) for target in targets.split(",")]
                for _ in range(0, count, PER_CHANNEL)]
    watchers = [Watcher(first + i, session_id, over, channels[i // PER_CHANNEL], pb) for i in range(count)]
    for watcher in watchers:
        watcher.start()
    sys.stdin.readline()
    over.set()
    for watcher in watchers:
        watcher.join(60)
    json.dump([watcher.report() for watcher in watchers], sys.stdout)


if __name__ == "__main__":
    main()
