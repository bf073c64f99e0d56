"""What a project has on the cluster, under the rights that deploy/ ships."""
import json

from api_support import wait_for
from cluster_support import SYSTEM


def wait_mark(plane, project=None):
    def marked():
        ns = plane.cluster.get("namespace", project or plane.project)
        return ns and ns["metadata"].get("annotations", {}).get("ambient-code.io/provisioned")
    try:
        return wait_for(marked, "the project to be ready")
    except AssertionError as e:
        raise AssertionError(f"{e}\n{plane.cp.log()[-6000:]}") from None


def binding(plane, name):
    return plane.cluster.get("rolebinding", name, plane.project)


def test_what_a_project_gets(make_plane):
    plane = make_plane(RUNNER_IMAGE_NAMESPACE="images")
    plane.cluster.kubectl("create", "namespace", "images")
    wait_mark(plane)
    ns = plane.cluster.get("namespace", plane.project)
    assert ns["metadata"]["labels"] == {
        "kubernetes.io/metadata.name": plane.project, "ambient-code.io/managed": "true",
        "ambient-code.io/managed-by": "ambient-control-plane", "ambient-code.io/project-id": plane.project,
        "ambient-code.io/installation": SYSTEM}
    policy = plane.cluster.get("networkpolicy", "allow-ambient-api-server", plane.project)["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [
        {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}},
                   "podSelector": {"matchLabels": {"app": "ambient-api-server"}}}],
         "ports": [{"port": 8001, "protocol": "TCP"}]}]}
    puller = plane.cluster.get("rolebinding", f"ambient-image-puller-{plane.project}", "images")
    assert puller["subjects"][0]["name"] == f"system:serviceaccounts:{plane.project}"
    assert '"a right is missing"' not in plane.cp.log()


def test_access_follows_the_settings(plane):
    creator = json.dumps({"ambient-code.io/created-by": "alice@example.com"})
    plane.client.ok("PATCH", f"/projects/{plane.project}", {"annotations": creator})
    settings = plane.client.ok("POST", "/project_settings", {
        "project_id": plane.project, "group_access": json.dumps([{"groupName": "devs", "role": "edit"},
                                                                 {"groupName": "ops", "role": "admin"}])})
    wait_for(lambda: binding(plane, "devs-edit") and binding(plane, "ops-admin"), "the bindings of groups")
    created_by = plane.client.ok("GET", f"/projects/{plane.project}").get("annotations", "")
    if "alice" in created_by:  # the API server may own that annotation
        people = plane.cluster.get("rolebindings", namespace=plane.project, selector="ambient-code.io/role=admin")
        wait_for(lambda: [b for b in people if b["subjects"][0]["name"] == "alice@example.com"], "the creator's")
    plane.client.ok("PATCH", f"/project_settings/{settings['id']}", {
        "group_access": json.dumps([{"groupName": "devs", "role": "view"}])})
    wait_for(lambda: binding(plane, "devs-view") and not binding(plane, "devs-edit")
             and not binding(plane, "ops-admin"), "what was taken away to be gone")
    assert binding(plane, "devs-view")["roleRef"]["name"] == "ambient-project-view"


def test_a_namespace_of_somebody_else(plane):
    name = f"{plane.project}-theirs"
    plane.cluster.kubectl("create", "namespace", name)
    plane.client.project(name)
    sid = plane.session(project_id=name)
    plane.wait_phase(sid, "Failed")
    assert "NamespaceForeign" in plane.condition(sid, "PodCreated")["message"]
    before = plane.cluster.get("namespace", name)
    plane.client.ok("DELETE", f"/projects/{name}")
    plane.client.project(f"{plane.project}-next")
    wait_mark(plane, f"{plane.project}-next")
    assert plane.cluster.get("namespace", name)["metadata"] == before["metadata"]
    assert plane.cluster.get("secret", "ambient-runner-secrets", name) is None


def test_an_admin_may_hand_a_namespace_over(plane):
    name = f"{plane.project}-adopted"
    plane.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "labels": {"ambient-code.io/adopt": name}}})
    plane.client.project(name)
    wait_mark(plane, name)
    assert plane.cluster.get("namespace", name)["metadata"]["labels"]["ambient-code.io/project-id"] == name


def test_a_reserved_name_is_refused(plane):
    plane.client.project("kube-public")
    sid = plane.session(project_id="kube-public")
    plane.wait_phase(sid, "Failed")
    assert "reserved" in plane.condition(sid, "PodCreated")["message"]
    assert plane.cluster.get("pods", namespace="kube-public") == []
    assert "ambient-code.io/managed" not in plane.cluster.get("namespace", "kube-public")["metadata"]["labels"]
    plane.client.ok("DELETE", f"/sessions/{sid}")
    plane.client.ok("DELETE", "/projects/kube-public")


def test_a_deleted_project_takes_its_namespace(plane):
    name = f"{plane.project}-short"
    plane.client.project(name)
    wait_mark(plane, name)
    plane.client.ok("DELETE", f"/projects/{name}")
    # No namespace controller runs here: it stays in Terminating.
    wait_for(lambda: plane.cluster.get("namespace", name)["metadata"].get("deletionTimestamp"), "its namespace to go")
    assert not plane.cluster.get("namespace", plane.project)["metadata"].get("deletionTimestamp")


def forget_project(plane, name):
    """Its deletion is seen by nobody."""
    wait_mark(plane, name)
    plane.cp.stop()
    plane.client.ok("DELETE", f"/projects/{name}")
    plane.cp.start()


def is_going(plane, name):
    return plane.cluster.get("namespace", name)["metadata"].get("deletionTimestamp")


def test_a_namespace_without_a_project_is_told(make_plane):
    plane = make_plane(ORPHAN_YOUNG="1s", ORPHAN_CONFIRM="1s", ORPHAN_SWEEP_FIRST="1s", ORPHAN_SWEEP="1s")
    name = f"{plane.project}-lost"
    plane.client.project(name)
    forget_project(plane, name)
    # Those of other tests on this cluster count, too: no API server here knows their projects.
    wait_for(lambda: any(line.startswith("ambient_cp_namespaces_without_project ") and not line.endswith(" 0")
                         for line in plane.cp.metrics().splitlines()), "the namespace to be counted")
    assert not is_going(plane, name)


def test_a_namespace_without_a_project_goes_when_that_is_wanted(make_plane):
    """And one that the settings of a project speak of before its project was listed stays."""
    plane = make_plane(GC_NAMESPACES="true", ORPHAN_YOUNG="1s", ORPHAN_CONFIRM="1s", ORPHAN_SWEEP_FIRST="1s",
                       ORPHAN_SWEEP="1s")
    plane.client.ok("POST", "/project_settings", {"project_id": plane.project, "group_access": "[]"})
    name = f"{plane.project}-lost"
    plane.client.project(name)
    wait_mark(plane)
    forget_project(plane, name)
    wait_for(lambda: is_going(plane, name), "it to go")
    assert not is_going(plane, plane.project)


def test_a_deletion_that_was_seen_while_nobody_led(make_plane):
    plane = make_plane(LEASE_DURATION="3s", ORPHAN_SWEEP_FIRST="1s", ORPHAN_SWEEP="1s")
    wait_mark(plane)
    second = plane.control_plane("second")
    plane.cp.kill()
    plane.client.ok("DELETE", f"/projects/{plane.project}")
    wait_for(second.leads, "the second to lead")
    wait_for(lambda: is_going(plane, plane.project), "its namespace to go")


def test_what_somebody_changed_is_put_right_by_a_new_look(plane):
    wait_mark(plane)
    plane.cluster.kubectl("delete", "networkpolicy", "allow-ambient-api-server", "-n", plane.project)
    plane.cluster.kubectl("annotate", "namespace", plane.project, "ambient-code.io/provisioned-")
    plane.cp.stop()
    plane.cp.start()
    wait_mark(plane)
    assert plane.cluster.get("networkpolicy", "allow-ambient-api-server", plane.project)


def test_another_installation_on_the_same_cluster(make_plane):
    """Its sessions are unknown to our API server, and none of our business."""
    plane = make_plane(ORPHAN_YOUNG="1s", ORPHAN_CONFIRM="1s", ORPHAN_SWEEP_FIRST="1s", ORPHAN_SWEEP="1s")
    wait_mark(plane)
    theirs = {"ambient-code.io/managed": "true", "ambient-code.io/managed-by": "ambient-control-plane",
              "ambient-code.io/session-id": "their-session", "ambient-code.io/installation": "ambient-other"}
    plane.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},  # no controller makes it
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "their-anchor", "labels": theirs}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "their-pod", "labels": theirs},
         "spec": {"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": False}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours", "labels": {
            **theirs, "ambient-code.io/session-id": "our-session", "ambient-code.io/installation": SYSTEM}}},
        namespace=plane.project)
    wait_for(lambda: not plane.cluster.get("configmap", "ours", plane.project), "what is really left over to go")
    for kind, name in (("configmap", "their-anchor"), ("pod", "their-pod")):
        assert not plane.cluster.get(kind, name, plane.project)["metadata"].get("deletionTimestamp")


def test_the_legacy_settings_object(make_plane, cluster):
    """Where the cluster knows the kind it is made once; where it does not (every other test) nothing waits for it."""
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
           "metadata": {"name": "projectsettings.vteam.ambient-code"},
           "spec": {"group": "vteam.ambient-code", "scope": "Namespaced",
                    "names": {"plural": "projectsettings", "kind": "ProjectSettings"},
                    "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
    cluster.apply(crd)
    try:
        cluster.kubectl("wait", "--for=condition=Established", "crd", crd["metadata"]["name"], "--timeout=60s")
        plane = make_plane()
        wait_mark(plane)
        made = cluster.get("projectsettings.vteam.ambient-code", "projectsettings", plane.project)
        assert made["spec"] == {"groupAccess": []}
        assert made["metadata"]["labels"] == {
            "ambient-code.io/project-id": plane.project, "ambient-code.io/managed": "true",
            "ambient-code.io/managed-by": "ambient-control-plane"}
    finally:
        cluster.kubectl("delete", "crd", crd["metadata"]["name"])
