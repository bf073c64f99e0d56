"""How a runner in a pod gets its session's token: as a file, and from the endpoint."""
import base64
import functools
import http.client
import itertools
import json
import pathlib
import ssl
import subprocess

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from api_proxy import ApiProxy
from api_support import DEADLINE, wait_for
from cluster_support import SYSTEM, running, terminated
from plane_support import control_plane


def creds(plane, sid):
    return plane.cluster.get("secret", plane.name(sid, "-creds"), plane.project)


def token_in(secret):
    return base64.b64decode(secret["data"]["api-token"]).decode()


def subject(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]


def ask(cp, session, key, proof=None, **how):
    sealed = key.encrypt(session.encode(), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    headers = {"Authorization": "Bearer " + base64.b64encode(sealed).decode()}
    return get(cp, {**headers, "X-Ambient-SA-Token": proof} if proof is not None else headers, **how)


def get(cp, headers, method="GET", tls=None):
    where = ("localhost", cp.ports["token"])
    connection = (http.client.HTTPSConnection(*where, timeout=DEADLINE, context=tls) if tls else
                  http.client.HTTPConnection(*where, timeout=DEADLINE))
    connection.request(method, "/token", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def env_of(pod):
    return {e["name"]: e for e in pod["spec"]["containers"][0]["env"]}


def test_the_file(make_plane):
    plane = make_plane(RUNNER_TOKEN_MODE="secret")
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
    plane = make_plane(RUNNER_TOKEN_MODE="secret", LEASE_DURATION="3s")
    sid = plane.start_running()
    before = creds(plane, sid)
    plane.cp.kill()
    plane.cp.start()
    after = wait_for(lambda: (token_in(creds(plane, sid)) != token_in(before)) and creds(plane, sid), "a new token")
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]


def start_known(plane, address="127.0.0.1", **fields):
    """A session whose pod has an address, and the public key that it was told."""
    sid = plane.start_running(**fields)
    plane.set_status(sid, {**running(), "podIP": address, "podIPs": [{"ip": address}]})
    return sid, public_key(plane, sid)


def public_key(plane, sid):
    return serialization.load_pem_public_key(
        env_of(plane.pod(sid))["AMBIENT_CP_TOKEN_PUBLIC_KEY"]["value"].encode())


def ask_until(cp, sid, key, status=200):
    """An address is known a moment after the kubelet wrote it, to a standby as well."""
    return wait_for(lambda: (lambda a: a[0] == status and a)(ask(cp, sid, key)), f"answer {status}")[1]


def key_of(plane, sid):
    return plane.pod(sid)["metadata"]["annotations"]["ambient-code.io/token-key-id"]


def test_the_endpoint(make_plane):
    plane = make_plane(RUNNER_TOKEN_MODE="both")
    sid, key = start_known(plane)
    env = env_of(plane.pod(sid))
    assert env["AMBIENT_CP_TOKEN_URL"]["value"] == f"http://ambient-control-plane.{SYSTEM}.svc:8080/token"
    assert key.key_size == 4096
    plane.cp.wait_token_port()
    answer = json.loads(ask_until(plane.cp, sid, key))
    assert sid in subject(answer["token"]) and answer["expires_at"]
    assert ask(plane.cp, "3MYDnCnTexsiDWwBv9nUTGK3i46", key)[0] == 403
    assert get(plane.cp, {})[0] == get(plane.cp, {"Authorization": "Bearer ?"})[0] == 401
    assert get(plane.cp, {"Authorization": "Basic eA=="})[0] == 401
    assert get(plane.cp, {}, "POST")[0] == 405
    log = plane.cp.log()
    assert '"token request: issued"' in log and '"token request: refused"' in log and answer["token"] not in log
    metrics = plane.cp.metrics()
    assert 'ambient_cp_token_requests_total{code="403"} 1' in metrics
    assert 'ambient_cp_token_requests_total{code="401"} 3' in metrics
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    assert ask(plane.cp, sid, key)[0] == 403, "a finished session gets none"


def test_only_the_pod_itself_is_answered(make_plane):
    plane = make_plane()
    mine, key = start_known(plane)
    other = plane.start_running()
    plane.cp.wait_token_port()
    ask_until(plane.cp, mine, key)
    assert ask(plane.cp, other, key)[0] == 503, "its address is not known yet: it asks again"
    plane.set_status(other, {**running(), "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]})
    ask_until(plane.cp, other, key, 403)
    assert ask(plane.cp, mine, key)[0] == 200
    refused = [ask(plane.cp, mine, key)[0] for _ in range(40)]
    assert refused[0] == 200 and refused[-1] == 429


def test_a_mesh_hides_addresses(make_plane):
    plane = make_plane(CP_TOKEN_CHECK_ADDRESS="false")
    sid = plane.start_running()
    plane.cp.wait_token_port()
    ask_until(plane.cp, sid, public_key(plane, sid))


def account_token(plane, sid, audience="ambient-control-plane"):
    """As the kubelet brings it into the session's pod."""
    return plane.cluster.kubectl("create", "token", plane.name(sid, "-sa"), "-n", plane.project,
                                 f"--audience={audience}", "--bound-object-kind=Pod",
                                 f"--bound-object-name={plane.name(sid)}").strip()


def expired(cluster, token):
    """The same a day later, by the API server's own signature."""
    claims = jwt.decode(token, options={"verify_signature": False})
    key = (cluster.directory / "sa.key").read_text()
    old = {name: claims[name] - 86400 for name in ("iat", "nbf", "exp")}
    return jwt.encode({**claims, **old}, key, "RS256", {"kid": jwt.get_unverified_header(token)["kid"]})


def test_the_pods_own_account_as_second_factor(make_plane, cluster):
    """(90e), where addresses say nothing."""
    plane = make_plane(CP_TOKEN_REVIEW="true", CP_TOKEN_CHECK_ADDRESS="false")
    mine, other = plane.start_running(), plane.start_running()
    pod, key = plane.pod(mine), public_key(plane, mine)
    path = pathlib.PurePath(env_of(pod)["AMBIENT_CP_TOKEN_PROOF_FILE"]["value"])
    mount = next(m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == str(path.parent))
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == mount["name"])["projected"]
    shown = volume["sources"][0]["serviceAccountToken"]
    assert (shown["audience"], shown["path"]) == ("ambient-control-plane", path.name) and mount["readOnly"]
    assert pod["spec"]["automountServiceAccountToken"] is False, "nothing that Kubernetes itself would take"
    plane.cp.wait_token_port()
    right, theirs = account_token(plane, mine), account_token(plane, other)
    answer = wait_for(lambda: (lambda a: a[0] == 200 and a[1])(ask(plane.cp, mine, key, right)), "its token")
    assert mine in subject(json.loads(answer)["token"])
    wrong = {None: 401, "x": 401, theirs: 403, expired(cluster, right): 401,
             account_token(plane, mine, "https://kubernetes.default.svc"): 401}
    for proof, status in wrong.items():
        # 503: Kubernetes took too long to say whose it is.
        said = wait_for(lambda p=proof: (lambda s: s != 503 and s)(ask(plane.cp, mine, key, p)[0]), "an answer")
        assert said == status, proof
    assert right not in plane.cp.log() and theirs not in plane.cp.log()
    assert '"a right is missing"' not in plane.cp.log()


def test_older_pods_have_no_account_to_show(make_plane):
    plane = make_plane(CP_TOKEN_CHECK_ADDRESS="false", LEASE_DURATION="3s")
    sid = plane.start_running()
    plane.cp.stop()
    plane.cp.env["CP_TOKEN_REVIEW"] = "true"
    plane.cp.start().wait_token_port()
    ask_until(plane.cp, sid, public_key(plane, sid))


def test_the_endpoint_over_tls(make_plane, cluster):
    server = cluster.directory / "server.crt"  # for localhost, of the test's authority
    plane = make_plane(CP_TOKEN_CHECK_ADDRESS="false", CP_TOKEN_TLS_CERT_FILE=str(server),
                       CP_TOKEN_TLS_KEY_FILE=str(server.with_suffix(".key")))
    sid = plane.start_running()
    plane.cp.wait_token_port()
    assert env_of(plane.pod(sid))["AMBIENT_CP_TOKEN_URL"]["value"].startswith("https://ambient-control-plane.")
    trust = ssl.create_default_context(cafile=cluster.directory / "ca.crt")
    status, _ = wait_for(lambda: (lambda a: a[0] == 200 and a)(ask(plane.cp, sid, public_key(plane, sid), tls=trust)),
                         "its answer")
    assert status == 200


def test_a_standby_answers_with_the_same_key(make_plane):
    plane = make_plane(RUNNER_TOKEN_MODE="both")
    sid, key = start_known(plane)
    second = plane.control_plane("second")
    second.wait_token_port()
    assert not second.leads()
    assert sid in subject(json.loads(ask_until(second, sid, key))["token"])


def test_another_key_leaves_those_who_know_the_old_one_alone(make_plane):
    plane = make_plane()
    old, old_key = start_known(plane)
    plane.cp.wait_token_port()
    ask_until(plane.cp, old, old_key)
    before, had = key_of(plane, old), len(ring(plane))
    plane.cluster.kubectl("annotate", "secret", KEYS, "-n", SYSTEM, "ambient-code.io/rotate-token-key=now")
    sealed = other_key().public_key()
    wait_for(lambda: ask(plane.cp, old, sealed)[0] == 401 and len(ring(plane)) > had, "the next key")
    new, new_key = start_known(plane)
    wait_for(lambda: plane.pod(new), "the pod")
    assert key_of(plane, new) != before and new_key.public_numbers() != old_key.public_numbers()
    ask_until(plane.cp, new, new_key)
    assert ask(plane.cp, old, old_key)[0] == 200
    secret = plane.cluster.get("secret", KEYS, SYSTEM)
    assert "ambient-code.io/rotate-token-key" not in secret["metadata"].get("annotations", {})


def test_a_key_that_no_pod_knows_goes(make_plane):
    plane = make_plane(CP_TOKEN_KEY_KEEP="1s")
    sid, key = start_known(plane)
    plane.cp.wait_token_port()
    ask_until(plane.cp, sid, key)
    mine = ring(plane)["private.pem"]
    plane.cluster.kubectl("annotate", "secret", KEYS, "-n", SYSTEM, "ambient-code.io/rotate-token-key=now")
    wait_for(lambda: nudge(plane, sid) and ring(plane)["private.pem"] != mine, "the next key")
    assert mine in ring(plane).values()
    for _ in range(2):  # looked at, and still there: a pod knows it
        looks = plane.cp.log().count("unknown key")
        wait_for(lambda n=looks: nudge(plane, sid) and plane.cp.log().count("unknown key") > n, "a look")
    assert ask(plane.cp, sid, key)[0] == 200
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    wait_for(lambda: nudge(plane, sid) and mine not in ring(plane).values(), "it to go")
    assert set(ring(plane)) >= {"private.pem", "public.pem"}


def nudge(plane, sid):
    """What is sealed for a key that is not known makes it look at the ring."""
    return ask(plane.cp, sid, other_key().public_key())[0] == 401


def test_a_ring_that_was_deleted_comes_back(make_plane):
    plane = make_plane()
    sid, key = start_known(plane)
    plane.cp.wait_token_port()
    ask_until(plane.cp, sid, key)
    before = ring(plane)
    plane.cluster.kubectl("delete", "secret", KEYS, "-n", SYSTEM)
    wait_for(lambda: ask(plane.cp, sid, other_key().public_key())[0] == 401 and ring(plane), "the Secret")
    assert ring(plane) == before
    assert ask(plane.cp, sid, key)[0] == 200


KEYS = "ambient-cp-token-keypair"


@functools.cache
def other_key():
    return rsa.generate_private_key(65537, 4096)


def ring(plane):
    secret = plane.cluster.get("secret", KEYS, SYSTEM)
    return secret["data"] if secret else {}


# ---- how it is configured

def test_only_the_endpoint_unless_told_otherwise(plane):
    sid = plane.start_running()
    env = env_of(plane.pod(sid))
    assert env["AMBIENT_CP_TOKEN_URL"]["value"] and env["AMBIENT_CP_TOKEN_PUBLIC_KEY"]["value"]
    assert creds(plane, sid) is None and "BOT_TOKEN" not in env
    assert [v["name"] for v in plane.pod(sid)["spec"]["volumes"]] == ["workspace"]


def test_only_the_file_and_then_the_endpoint(make_plane):
    """Another mode is for pods that are made from now on: the file of an older pod stays fresh."""
    plane = make_plane(api_flags=["--session-token-life=6s"], RUNNER_TOKEN_MODE="secret", LEASE_DURATION="3s")
    sid = plane.start_running()
    assert not [name for name in env_of(plane.pod(sid)) if name.startswith("AMBIENT_CP_TOKEN")]
    assert "token" not in plane.cp.ports and creds(plane, sid)
    plane.cp.stop()
    plane.cp.env["RUNNER_TOKEN_MODE"] = "endpoint"
    plane.cp.start()
    token = token_in(creds(plane, sid))
    wait_for(lambda: token_in(creds(plane, sid)) != token, "a fresh one")
    plane.cp.wait_token_port()


def test_pods_would_wait_forever_for_an_endpoint_that_is_off():
    env = {"MODE": "kube", "AMBIENT_API_TOKEN": "x" * 32, "CP_TOKEN_LISTEN_ADDR": "off", "HOME": "/nonexistent"}
    done = subprocess.run([control_plane()], env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 2 and "RUNNER_TOKEN_MODE=endpoint" in done.stderr, done


# ---- the file stays fresh

def token_secrets(cp, result):
    line = next(s for s in cp.metrics().splitlines() if f'token_secrets_total{{result="{result}"}}' in s)
    return int(line.split()[-1])


def over_three_pages(plane, projects):
    """A running session on each page of a list, in a project of its own; a page is a hundred. In this order."""
    made = []
    plane.cp.stop()
    for project in projects:
        made.append(plane.session(project_id=project))
        for _ in range(100 if project != projects[-1] else 0):
            plane.client.status(plane.session(project_id=project), phase="Stopped")
    plane.cp.start()
    for sid, project in zip(made, projects):
        wait_for(lambda s=sid, p=project: plane.cluster.get("pod", plane.name(s), p), "the pod")
        plane.cluster.bind(project, plane.name(sid))
        plane.cluster.patch_status(project, plane.name(sid), running())
        plane.wait_phase(sid, "Running")
    return made


def test_a_round_reaches_every_page_and_every_project(make_plane):
    """R12; R13: a page that fails is asked for again; R14: a project that fails does not stop the others."""
    plane = make_plane(RUNNER_TOKEN_MODE="secret", LEASE_DURATION="3s")
    projects = [plane.project, plane.project + "b", plane.project + "c"]
    for project in projects[1:]:
        plane.client.project(project)
    sids = over_three_pages(plane, projects)

    def tokens():
        found = [plane.cluster.get("secret", plane.name(sid, "-creds"), p) for sid, p in zip(sids, projects)]
        return [secret and token_in(secret) for secret in found]

    before, stuck = tokens(), plane.name(sids[1], "-creds")
    plane.cluster.kubectl("patch", "secret", stuck, "-n", projects[1], "--type=merge", "-p", '{"immutable":true}')
    plane.cp.kill()
    lists = itertools.count(1)

    def second_page(method, path):
        return method == "GET" and path.startswith("/api/ambient/v1/sessions?") and next(lists) == 2

    with ApiProxy(plane.api.ports["http"], second_page) as proxy:
        plane.cp.env["AMBIENT_API_SERVER_URL"] = proxy.url
        plane.cp.start()
        wait_for(lambda: token_secrets(plane.cp, "written") >= 2 and token_secrets(plane.cp, "failed"), "a round")
        now = tokens()
        assert now[0] != before[0] and now[1] == before[1] and now[2] != before[2]
        plane.cluster.kubectl("delete", "secret", stuck, "-n", projects[1])
        wait_for(lambda: tokens()[1] not in (None, before[1]), "the one that failed")
        assert proxy.failed == 1
        minted = {path for method, path, _ in proxy.seen if method == "POST" and path.endswith("/token")}
        assert minted == {f"/api/ambient/v1/sessions/{sid}/token" for sid in sids}
        assert all(headers.get("X-Ambient-Project") != "" for _, _, headers in proxy.seen)
        plane.cp.stop()
    for project in projects[1:]:
        plane.cluster.kubectl("delete", "pods", "--all", "-n", project, "--grace-period=0", "--force")


def test_an_unchanged_token_is_not_written(make_plane):
    """R19; and R14, R15: sessions of all projects are looked at when it starts."""
    plane = make_plane(RUNNER_TOKEN_MODE="secret", SESSION_TOKENS="off", LEASE_DURATION="3s")
    other = plane.project + "b"
    plane.client.project(other)
    sids = [plane.start_running(), plane.session(project_id=other)]
    wait_for(lambda: plane.cluster.get("pod", plane.name(sids[1]), other), "the pod of the other project")
    versions = [plane.cluster.get("secret", plane.name(sid, "-creds"), ns)["metadata"]["resourceVersion"]
                for sid, ns in zip(sids, (plane.project, other))]
    plane.cp.kill()
    plane.cp.start()
    wait_for(lambda: token_secrets(plane.cp, "unchanged") >= 2, "both to be looked at")
    assert token_secrets(plane.cp, "written") == 0
    assert versions == [plane.cluster.get("secret", plane.name(sid, "-creds"), ns)["metadata"]["resourceVersion"]
                        for sid, ns in zip(sids, (plane.project, other))]
    plane.cluster.kubectl("delete", "pods", "--all", "-n", other, "--grace-period=0", "--force")


def test_a_renewed_token_reaches_the_running_pod(make_plane):
    """R16: the file follows, the pod stays."""
    plane = make_plane(api_flags=["--session-token-life=6s"], RUNNER_TOKEN_MODE="secret")
    sid = plane.start_running()
    uid, token = plane.pod(sid)["metadata"]["uid"], token_in(creds(plane, sid))
    seen = {token, wait_for(lambda: token_in(creds(plane, sid)) not in {token} and token_in(creds(plane, sid)), "one")}
    wait_for(lambda: token_in(creds(plane, sid)) not in seen, "another one")
    assert plane.pod(sid)["metadata"]["uid"] == uid
    assert plane.client.ok("GET", f"/sessions/{sid}")["phase"] == "Running"


def test_a_secret_that_was_deleted_comes_back(make_plane):
    plane = make_plane(api_flags=["--session-token-life=6s"], RUNNER_TOKEN_MODE="secret")
    sid = plane.start_running()
    before = creds(plane, sid)
    plane.cluster.kubectl("delete", "secret", before["metadata"]["name"], "-n", plane.project)
    after = wait_for(lambda: creds(plane, sid), "the Secret")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
    assert sid in subject(token_in(after))
