"""src/kube against a real kube-apiserver: test-kube-live makes the calls, kubectl sees what came of them."""
import os
import subprocess

import pytest

from api_support import BUILD

LIVE = BUILD / "src/kube/test-kube-live"


def run_live(kubeconfig, *arguments, **env):
    done = subprocess.run([LIVE, *arguments], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "KUBECONFIG": str(kubeconfig), **env})
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def admin_token(cluster):
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "live"}})
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "live", "namespace": "live"}},
                  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                   "metadata": {"name": "live"}, "subjects": [{"kind": "ServiceAccount", "name": "live",
                                                               "namespace": "live"}],
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                               "name": "cluster-admin"}})
    return cluster.token("live", "live")


def test_everything_with_a_client_certificate(cluster):
    run_live(cluster.admin)


def test_a_token(cluster, admin_token):
    run_live(cluster.write_kubeconfig("token", {"token": admin_token}), "get")


def test_a_token_file(cluster, admin_token):
    (cluster.directory / "the-token").write_text(admin_token + "\n")
    run_live(cluster.write_kubeconfig("token-file", {"tokenFile": "the-token"}), "get")


def test_an_exec_plugin(cluster, admin_token):
    answer = ('{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}'
              % admin_token)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
                     "args": ["-c", f"echo '{answer}'"], "interactiveMode": "Never"}}
    run_live(cluster.write_kubeconfig("exec", user), "get")


def test_another_name_in_the_certificate(cluster, admin_token):
    good = cluster.write_kubeconfig("name", {"token": admin_token}, **{"tls-server-name": "kubernetes.test"})
    run_live(good, "get")
    bad = cluster.write_kubeconfig("bad-name", {"token": admin_token}, **{"tls-server-name": "other.test"})
    with pytest.raises(AssertionError):
        run_live(bad, "get")


def test_in_cluster(cluster, admin_token):
    directory = cluster.directory / "account"
    directory.mkdir()
    (directory / "token").write_text(admin_token)
    (directory / "ca.crt").write_bytes((cluster.directory / "ca.crt").read_bytes())
    (directory / "namespace").write_text("live")
    run_live("", "get", KUBERNETES_SERVICE_HOST="127.0.0.1",
             KUBERNETES_SERVICE_PORT=str(cluster.ports[2]), TEST_ACCOUNT_DIR=str(directory))


def test_what_was_applied_is_there(cluster):
    account = cluster.get("serviceaccount", "applied", "live-objects")
    assert account["metadata"]["labels"] == {"v": "2"}
    managers = [m for m in account["metadata"]["managedFields"] if m["manager"] == "tests"]
    assert [m["operation"] for m in managers] == ["Apply"]
    assert cluster.get("events", namespace="live-objects")[0]["reason"] == "Tested"
    lease = cluster.get("lease", "vote", "live-objects")
    assert lease["spec"].get("holderIdentity", "") == ""
    assert cluster.get("configmaps", selector="batch=yes") == []
