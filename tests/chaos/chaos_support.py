"""Shared by the chaos tests and the programs they start: gRPC stubs that are not ours."""
import importlib
import pathlib
import subprocess
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A connection of its own for each channel, and a quick return of one that was cut.
CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 20),
           ("grpc.min_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 150)]

# What a client may see of a server that was killed; anything else is an answer, and a wrong one.
CUT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


def compile_protos(directory):
    files = sorted((ROOT / "proto/ambient").rglob("*.proto"))
    subprocess.run(["protoc", "-I", str(ROOT / "proto"), f"--python_out={directory}", *map(str, files)], check=True)
    return directory


def load_sessions(directory):
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return importlib.import_module("ambient.v1.sessions_pb2")


def push_stub(channel, pb):
    return channel.unary_unary("/ambient.v1.SessionService/PushSessionMessage",
                               request_serializer=pb.PushSessionMessageRequest.SerializeToString,
                               response_deserializer=pb.SessionMessage.FromString)


def watch_stub(channel, pb):
    return channel.unary_stream("/ambient.v1.SessionService/WatchSessionMessages",
                                request_serializer=pb.WatchSessionMessagesRequest.SerializeToString,
                                response_deserializer=pb.SessionMessage.FromString)
