"""PLATFORM_MODE=mpp: namespaces are made by an operator, played by the test, for which we may only ask; and pods are
seen namespace by namespace."""

import pytest

from api_support import wait_for
from cluster_support import ROOT, SYSTEM, running, terminated

CONFIG = "ambient-code--config"
RBAC = "rbac.authorization.k8s.io"


def bind(name, role_kind, role_name, namespace):
    return {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": role_name},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant-plane", "namespace": SYSTEM}]}


@pytest.fixture(scope="module")
def tenant_config(cluster, kubeconfig):
    """The kind TenantNamespace, and an account with what a tenant has: no look at other namespaces."""
    cluster.apply({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tenantnamespaces.tenant.paas.redhat.com"},
        "spec": {"group": "tenant.paas.redhat.com", "scope": "Namespaced",
                 "names": {"plural": "tenantnamespaces", "kind": "TenantNamespace"},
                 "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                     "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CONFIG}},
                  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant-plane",
                                                                              "namespace": SYSTEM}})
    # The account of the other tests has rights everywhere; this one has what deploy/ gives to a tenant.
    rights = (ROOT / "deploy/overlays/tenants/rights.yaml").read_text()
    account = "{kind: ServiceAccount, name: %s, namespace: ambient-code}"
    assert account % "ambient-control-plane" in rights
    rights = rights.replace(account % "ambient-control-plane", account % "tenant-plane")
    cluster.kubectl("apply", "-f", "-", stdin=rights)
    cluster.apply(bind("tenant-plane", "Role", "ambient-control-plane", SYSTEM))
    token = cluster.token(SYSTEM, "tenant-plane")
    return cluster.write_kubeconfig("tenant", {"token": token}, SYSTEM)


def make_tenant(cluster, namespace):
    """What the operator does, in its order: rights come last."""
    cluster.kubectl("create", "namespace", namespace)
    wait_for(lambda: cluster.get("namespace", namespace)["status"]["phase"] == "Active", "the namespace")
    cluster.apply(bind("admin", "ClusterRole", "ambient-control-plane-tenant", namespace))


def test_a_session_of_a_tenant(make_plane, tenant_config):
    plane = make_plane(PLATFORM_MODE="mpp", KUBECONFIG=str(tenant_config), LEASE_DURATION="3s", POD_MISSING_AFTER="3s")
    name, namespace = plane.project, f"ambient-code--{plane.project}"
    sid = plane.session()
    tenant = wait_for(lambda: plane.cluster.get("tenantnamespace", name, CONFIG), "the request for a namespace")
    assert tenant["spec"] == {"network": {"security-zone": "internal"}, "type": "runtime"}
    assert tenant["metadata"]["labels"]["tenant.paas.redhat.com/tenant"] == "ambient-code"
    assert tenant["metadata"]["labels"]["ambient-code.io/project-id"] == name
    wait_for(lambda: plane.cp.log().count('"a session cannot start yet"') > 1, "the session to be tried again")
    assert not plane.phase(sid), "it waits, and does not fail"
    make_tenant(plane.cluster, namespace)
    assert '"a right is missing"' not in plane.cp.log(), "of namespaces that it does not make"
    plane.project = namespace  # where its pods are
    plane.wait_pod(sid)
    assert plane.wait_phase(sid, "Creating")["kube_namespace"] == namespace
    plane.cluster.bind(namespace, plane.name(sid))
    plane.set_status(sid, running())
    plane.wait_phase(sid, "Running")
    assert plane.cluster.get("networkpolicy", "allow-ambient-api-server", namespace)
    plane.cp.kill()
    plane.cp.start()
    plane.set_status(sid, terminated(0))
    plane.wait_phase(sid, "Completed")
    plane.client.ok("DELETE", f"/sessions/{sid}")
    wait_for(lambda: not plane.cluster.get("configmaps", namespace=namespace,
                                           selector=f"ambient-code.io/session-id={sid}"), "its objects to go")
    plane.client.ok("DELETE", f"/projects/{name}")
    wait_for(lambda: not plane.cluster.get("tenantnamespace", name, CONFIG), "the request to be taken back")
