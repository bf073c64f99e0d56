"""What deploy/ ships, as a real kube-apiserver takes it."""
import json
import os
import subprocess

import pytest

from cluster_support import ROOT, SYSTEM

OVERLAYS = ("base", "overlays/sqlite", "overlays/kind", "overlays/postgres", "overlays/production",
            "overlays/tenants")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_accepted(cluster, kubeconfig, overlay):
    """Server-side, with admission: no unknown field, nothing deprecated, no pod against the restricted standard."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ambient-code--config"}})
    done = cluster.run_kubectl("apply", "--dry-run=server", "--validate=strict", "-k", ROOT / "deploy" / overlay)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    for name in ("ambient-control-plane", "ambient-api-server"):
        assert f"deployment.apps/{name}" in done.stdout


def test_secrets_are_made_once(cluster, kubeconfig):
    def run(**env):
        path = f"{cluster.binaries}:{os.environ['PATH']}"
        return subprocess.run([ROOT / "deploy/secrets.sh", f"--kubeconfig={cluster.admin}"], capture_output=True,
                              text=True, timeout=60, check=True, env={**os.environ, "PATH": path, **env}).stdout

    def secrets():
        wanted = ("ambient-control-plane-token", "ambient-api-server", "ambient-postgres")
        return {s["metadata"]["name"]: s["data"] for s in cluster.get("secrets", namespace=SYSTEM)
                if s["metadata"]["name"] in wanted}

    run()
    first = secrets()
    assert set(first) == {"ambient-control-plane-token", "ambient-api-server"}
    assert set(first["ambient-api-server"]) == {"admin-token", "keyring", "key-version"}
    run(POSTGRES="1")
    assert set(secrets()["ambient-postgres"]) >= {"db.host", "db.port", "db.name", "db.user", "db.password"}
    assert {name: secrets()[name] for name in first} == first, "what is there stays"


def test_the_control_plane_may_nothing_that_is_not_its_own(cluster, kubeconfig):
    """Its rights, asked of the API server: Secrets of other namespaces above all."""
    account = f"--as=system:serviceaccount:{SYSTEM}:ambient-control-plane"

    def may(verb, what, namespace):
        return cluster.run_kubectl("auth", "can-i", verb, what, "-n", namespace, account).stdout.strip() == "yes"

    assert may("create", "namespaces", "default") and may("watch", "pods", "default")
    for verb, what in (("get", "secrets"), ("list", "secrets"), ("create", "pods"), ("delete", "pods"),
                       ("escalate", "clusterroles"), ("create", "clusterrolebindings"), ("impersonate", "users")):
        assert not may(verb, what, "default"), (verb, what)
        assert not may(verb, what, "kube-system"), (verb, what)
    assert may("get", "secrets", SYSTEM) and may("update", "leases", SYSTEM)
    # It binds what is named, and nothing else.
    rights = cluster.kubectl("get", "clusterrole", "ambient-control-plane", "-o", "json")
    bind = [r for r in json.loads(rights)["rules"] if "bind" in r["verbs"]]
    assert len(bind) == 1 and "cluster-admin" not in bind[0]["resourceNames"]
