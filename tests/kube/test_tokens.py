"""How a runner in a pod gets its session's token: as a file, and from the endpoint."""
import base64
import http.client
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from api_support import DEADLINE, wait_for
from cluster_support import SYSTEM, terminated


def creds(plane, sid):
    return plane.cluster.get("secret", plane.name(sid, "-creds"), plane.project)


def token_in(secret):
    return base64.b64decode(secret["data"]["api-token"]).decode()


def subject(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]


def ask(cp, session, key):
    sealed = key.encrypt(session.encode(), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    return get(cp, {"Authorization": "Bearer " + base64.b64encode(sealed).decode()})


def get(cp, headers, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", cp.ports["token"], timeout=DEADLINE)
    connection.request(method, "/token", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def env_of(pod):
    return {e["name"]: e for e in pod["spec"]["containers"][0]["env"]}


def test_the_file(plane):
    sid = plane.start_running()
    pod = plane.pod(sid)
    mount = next(m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["name"] == "runner-token")
    assert (mount["mountPath"], mount["readOnly"], mount.get("subPath")) == ("/var/run/secrets/ambient", True, None)
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "runner-token")["secret"]
    assert volume["items"] == [{"key": "api-token", "path": "bot-token"}]
    assert env_of(pod)["BOT_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == volume["secretName"]
    token = token_in(creds(plane, sid))
    assert sid in subject(token)
    assert token not in plane.cp.log() and token not in json.dumps(pod)
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    plane.client.ok("POST", f"/sessions/{sid}/start", status=200)
    plane.wait_pod(sid, lambda p: p["metadata"]["uid"] != pod["metadata"]["uid"])
    assert token_in(creds(plane, sid)) != token, "a start gets a fresh one"


def test_a_restart_brings_fresh_tokens(make_plane):
    plane = make_plane(LEASE_DURATION="3s")
    sid = plane.start_running()
    before = creds(plane, sid)
    plane.cp.kill()
    plane.cp.start()
    after = wait_for(lambda: (token_in(creds(plane, sid)) != token_in(before)) and creds(plane, sid), "a new token")
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


def test_the_endpoint(plane):
    sid = plane.start_running()
    env = env_of(plane.pod(sid))
    assert env["AMBIENT_CP_TOKEN_URL"]["value"] == f"http://ambient-control-plane.{SYSTEM}.svc:8080/token"
    key = serialization.load_pem_public_key(env["AMBIENT_CP_TOKEN_PUBLIC_KEY"]["value"].encode())
    assert key.key_size == 4096
    plane.cp.wait_token_port()
    status, body = ask(plane.cp, sid, key)
    assert status == 200 and sid in subject(json.loads(body)["token"])
    assert ask(plane.cp, "3MYDnCnTexsiDWwBv9nUTGK3i46", key)[0] == 403
    assert get(plane.cp, {})[0] == get(plane.cp, {"Authorization": "Bearer ?"})[0] == 401
    assert get(plane.cp, {}, "POST")[0] == 405
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    assert ask(plane.cp, sid, key)[0] == 403, "a finished session gets none"


def test_a_standby_answers_with_the_same_key(plane):
    sid = plane.start_running()
    key = serialization.load_pem_public_key(
        env_of(plane.pod(sid))["AMBIENT_CP_TOKEN_PUBLIC_KEY"]["value"].encode())
    second = plane.control_plane("second")
    second.wait_token_port()
    assert not second.leads()
    # Known to it a moment later than to the leader; then at the second try at the latest, as runners do.
    status, body = wait_for(lambda: (lambda a: a[0] == 200 and a)(ask(second, sid, key)), "its answer")
    assert status == 200 and sid in subject(json.loads(body)["token"])


def test_only_the_file(make_plane):
    plane = make_plane(RUNNER_TOKEN_MODE="secret")
    sid = plane.start_running()
    assert env_of(plane.pod(sid))["AMBIENT_CP_TOKEN_URL"].get("value", "") == ""
    assert "token" not in plane.cp.ports and creds(plane, sid)


def test_only_the_endpoint(make_plane):
    plane = make_plane(RUNNER_TOKEN_MODE="endpoint")
    sid = plane.start_running()
    assert creds(plane, sid) is None and "BOT_TOKEN" not in env_of(plane.pod(sid))
