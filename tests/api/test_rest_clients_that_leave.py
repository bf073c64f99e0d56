"""Clients that hang up at every moment of every request: the server goes on, and keeps nothing of them."""
import socket
import struct
import urllib.request

import pytest

from api_support import V1, wait_for


@pytest.fixture(scope="module")
def targets(server):
    client = server.client()
    project = client.project("leaving")["id"]
    agent = client.agent(project, "a")["id"]
    session = client.session(project_id=project, prompt="x")["id"]
    for i in range(30):
        client.push(session, "y" * 20_000)
    client.status(session, phase="Running", kube_namespace="local")
    client.close()
    return [
        ("GET", "/sessions", "", ""), ("GET", f"/sessions/{session}", "", ""),
        ("POST", "/sessions", "", '{"name":"left"}'), ("PATCH", f"/sessions/{session}", "", '{"name":"left"}'),
        ("POST", f"/projects/{project}/agents/{agent}/start", "", "{}"),
        ("GET", f"/projects/{project}/agents/{agent}/start", "", ""),
        ("GET", f"/sessions/{session}/messages", "", ""),
        ("GET", f"/sessions/{session}/messages", "Accept: text/event-stream\r\n", ""),
        ("POST", f"/sessions/{session}/messages", "", '{"payload":"left"}'),
        ("GET", f"/sessions/{session}/events", "", ""), ("POST", f"/sessions/{session}/interrupt", "", "{}"),
        ("DELETE", "/sessions/nobody", "", ""), ("GET", "/openapi", "Accept-Encoding: gzip\r\n", ""),
    ]


def metric(server, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics", timeout=30).read().decode()
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + " "))


def hang_up(connection):
    """With a reset: what is still to be sent is thrown away at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("read", [0, 1, 200, 20_000])
def test_leaving_after_some_bytes_of_the_answer(server, targets, read):
    for method, path, headers, body in targets:
        request = f"{method} {V1}{path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
        for _ in range(15):
            connection = socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=30)
            connection.sendall(request.encode())
            left = read
            while left > 0 and connection.recv(min(left, 4096)):
                left -= 4096
                if path == "/sessions/nobody" or read == 1:
                    break
                connection.settimeout(0.05)  # an answer shorter than that: it is all there
                try:
                    connection.recv(1, socket.MSG_PEEK)
                except TimeoutError:
                    break
            hang_up(connection)
    wait_for(lambda: metric(server, "api_connections") == 0, "the connections to be gone")
    assert metric(server, "api_event_streams") == 0 and metric(server, "ambient_hub_message_watchers") == 0
    assert server.client().get("/projects").status == 200


def test_leaving_after_each_byte_of_a_request(server):
    request = f"POST {V1}/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n" + '{"name":"half"}'
    before = server.client().ok("GET", "/sessions", query={"search": "name = 'half'"})["total"]
    for length in range(len(request)):
        connection = socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=30)
        connection.sendall(request[:length].encode())
        hang_up(connection)
    wait_for(lambda: metric(server, "api_connections") <= 1, "the connections to be gone")
    assert server.client().ok("GET", "/sessions", query={"search": "name = 'half'"})["total"] == before
