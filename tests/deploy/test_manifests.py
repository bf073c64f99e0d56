"""The overlays of deploy/, rendered by kubectl: what they promise holds for every object in them."""
import os
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MESON_BUILD_ROOT", os.path.join(ROOT, "build"))
OVERLAYS = ("base", "overlays/sqlite", "overlays/kind", "overlays/postgres", "overlays/production")


PROGRAMS = {f"/usr/bin/{name}": name for name in ("ambient-api-server", "ambient-control-plane")}


def run(*arguments):
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=60, check=False)


def kustomize(overlay):
    """The overlay's objects. Skips where there is no kubectl that knows today's kustomizations."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    version = run("version", "--client")
    minor = re.search(r'v1\.(\d+)|Minor:"(\d+)', version.stdout)
    if not minor or int(minor[1] or minor[2]) < 27:
        pytest.skip("kubectl is older than 1.27, its kustomize does not know `labels` and `patches`")
    out = run("kustomize", os.path.join(ROOT, "deploy", overlay))
    assert out.returncode == 0, out.stderr
    assert not out.stderr, "a kustomization uses something that is deprecated: " + out.stderr
    return [o for o in yaml.safe_load_all(out.stdout) if o]


def templates(objects):
    """(name, pod specification) of everything that makes pods."""
    return [(o["metadata"]["name"], o["spec"]["template"]["spec"]) for o in objects
            if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job")]


def containers(objects):
    for name, spec in templates(objects):
        for c in spec.get("initContainers", []) + spec["containers"]:
            yield name, spec, c


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_keep_the_restricted_standard(overlay):
    found = 0
    for name, spec, c in containers(kustomize(overlay)):
        found += 1
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert c["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                        "capabilities": {"drop": ["ALL"]}}, name
        assert "memory" in c["resources"]["limits"] and "cpu" in c["resources"]["requests"], name
    assert found >= 2


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_long_lived_containers_have_probes(overlay):
    for name, spec in templates(kustomize(overlay)):
        for c in spec["containers"]:
            assert "readinessProbe" in c, name
            if c["image"].startswith("localhost/ambient"):
                assert "livenessProbe" in c, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_written_down(overlay):
    secret = re.compile("TOKEN$|SECRET$|PASSWORD$|API_KEY$|KEYRING$")
    for o in kustomize(overlay):
        assert o["kind"] != "Secret", "secrets.sh makes them, with random values"
    for name, _, c in containers(kustomize(overlay)):
        for e in c.get("env", []):
            assert not secret.search(e["name"]) or "secretKeyRef" in e.get("valueFrom", {}), f"{name}: {e['name']}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_volumes_and_references_exist(overlay):
    objects = kustomize(overlay)
    claims = {o["metadata"]["name"] for o in objects if o["kind"] == "PersistentVolumeClaim"}
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"} | {"default"}
    for name, spec, c in containers(objects):
        volumes = {v["name"] for v in spec.get("volumes", [])}
        volumes |= {v["metadata"]["name"] for o in objects
                    if o["kind"] == "StatefulSet" and o["metadata"]["name"] == name
                    for v in o["spec"].get("volumeClaimTemplates", [])}
        assert {m["name"] for m in c.get("volumeMounts", [])} <= volumes, name
        assert {v["persistentVolumeClaim"]["claimName"] for v in spec.get("volumes", [])
                if "persistentVolumeClaim" in v} <= claims, name
        assert spec.get("serviceAccountName", "default") in accounts, name
    for o in objects:
        if o["kind"] == "Service":
            assert any(o["spec"]["selector"].items() <= w["spec"]["template"]["metadata"]["labels"].items()
                       for w in objects if w["kind"] in ("Deployment", "StatefulSet")), o["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_denied_unless_allowed(overlay):
    policies = {o["metadata"]["name"]: o["spec"] for o in kustomize(overlay) if o["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    for name, spec in policies.items():
        for rule in spec.get("ingress", []):
            assert rule.get("from") and rule.get("ports"), f"{name} opens too much"


def test_replicas_survive_a_drain():
    objects = kustomize("overlays/production")
    replicas = {o["metadata"]["name"]: o["spec"]["replicas"] for o in objects if o["kind"] == "Deployment"}
    budgets = {o["metadata"]["name"]: o["spec"]["minAvailable"] for o in objects if o["kind"] == "PodDisruptionBudget"}
    assert set(budgets) == set(replicas)
    assert all(budgets[name] < replicas[name] for name in replicas)


def test_rights_are_named():
    """No wildcard, no escalate, and Secrets cluster-wide for nobody."""
    objects = kustomize("base")
    for o in objects:
        for rule in o.get("rules", []) if o["kind"] in ("Role", "ClusterRole") else []:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"], o["metadata"]["name"]
            assert "escalate" not in rule["verbs"] and "impersonate" not in rule["verbs"]
            if "bind" in rule["verbs"]:
                assert rule["resourceNames"]
    everywhere = {o["roleRef"]["name"] for o in objects if o["kind"] == "ClusterRoleBinding"}
    for o in objects:
        if o["kind"] == "ClusterRole" and o["metadata"]["name"] in everywhere:
            assert not any("secrets" in rule["resources"] for rule in o["rules"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_programs_know_their_settings(overlay):
    """A flag or a variable of a manifest that the program does not know would be a silent nothing."""
    helps = {}
    for path, program in PROGRAMS.items():
        out = subprocess.run([os.path.join(BUILD, "bin", program), "--help"], capture_output=True, text=True,
                             timeout=60, check=True)
        helps[path] = out.stdout
    foreign = {"POD_NAME"}
    for name, _, c in containers(kustomize(overlay)):
        known = helps.get(c.get("command", [None])[0])
        if known is None:
            continue
        for flag in [a.split("=")[0] for a in c.get("args", []) if a.startswith("--")]:
            assert re.search(re.escape(flag) + r"\b", known), f"{name}: {flag}"
        for variable in {e["name"] for e in c.get("env", [])} - foreign:
            assert re.search(r"\b" + variable + r"\b", known), f"{name}: {variable}"
