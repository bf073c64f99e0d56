"""`acpctl kustomize`: the same documents as the real `kubectl kustomize` where both understand the input, and our own
meaning where the contract says so. No server is needed."""
import functools
import os
import re
import shutil
import subprocess

import pytest
import yaml

from platform_support import BIN, DEADLINE

AGENT = """
apiVersion: ambient.io/v1
kind: Agent
metadata:
  name: {n}
  labels: {{team: core, app.kubernetes.io/name: {n}}}
  annotations: {{note: "kept", drop: "me"}}
spec:
  prompt: |
    You are {n}.

    Be brief.
  list: [1, 2, {{a: b}}]
  nested: {{one: {{two: {{three: x}}}}, other: word}}
  number: 3
  flag: true
---
apiVersion: ambient.io/v1
kind: Credential
metadata: {{name: {n}-key}}
spec: {{provider: github, url: "https://x.y:8443/path"}}
"""


def put(root, files):
    for path, text in files.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
    return root


@pytest.fixture
def acpctl(tmp_path):
    env = dict(os.environ, AMBIENT_CONFIG=str(tmp_path / "no-config.json"))

    def run(*words, code=0, cwd=None):
        done = subprocess.run([os.path.join(BIN, "acpctl"), *words], env=env, capture_output=True, text=True,
                              timeout=DEADLINE, cwd=cwd)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done
    return run


@pytest.fixture
def build(acpctl, tmp_path):
    def build(files, directory="o", *words):
        put(tmp_path, files)
        return list(yaml.safe_load_all(acpctl("kustomize", str(tmp_path / directory), *words).stdout))
    return build


@pytest.fixture
def fails(acpctl, tmp_path):
    def fails(files, directory="o", *words, code=1):
        put(tmp_path, files)
        done = acpctl("kustomize", str(tmp_path / directory), *words, code=code)
        assert done.stdout == "" and done.stderr.splitlines()[-1].startswith("Error: ")
        return done.stderr
    return fails


# ---- beside the real one ----

@functools.cache
def kubectl_kustomize_version():
    """(major, minor) of kustomize inside kubectl; None when there is no kubectl."""
    if not shutil.which("kubectl"):
        return None
    text = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=DEADLINE).stdout
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (2, 0)  # before 1.25 kubectl does not say


BASE = {"b/kustomization.yaml": "resources: [x.yaml]\n",
        "b/x.yaml": AGENT.format(n="lead") + "---" + AGENT.format(n="api")}
SM = "apiVersion: ambient.io/v1\nkind: Agent\nmetadata: {name: lead}\n"

# name: (first kustomize that understands it, overlay, further files). Debian's has 2.0, where directories are bases.
SAME = {
    "resources": ((2, 0), "bases: [../b]\n", {}),
    "prefix-and-suffix": ((2, 0), "bases: [../b]\nnamePrefix: p-\nnameSuffix: -s\n", {}),
    "common-labels-and-annotations": (
        (2, 0), "bases: [../b]\ncommonLabels: {env: prod, v: '1.10'}\ncommonAnnotations: {shown: 'true'}\n", {}),
    "strategic-scalars-maps-sequences": (
        (2, 0), "bases: [../b]\npatchesStrategicMerge: [p.yaml]\n",
        {"p.yaml": SM + "spec: {prompt: new, list: [9], nested: {one: {two: {four: 4}}}, added: {x: [1]}}\n"}),
    "null-deletes": (
        (2, 0), "bases: [../b]\npatchesStrategicMerge: [p.yaml]\n",
        {"p.yaml": SM + "spec: {nested: {one: null}, flag: null, fresh: {gone: null, stays: 1}}\n"}),
    "patch-delete-directive": (
        (4, 0), "resources: [../b]\npatchesStrategicMerge: [p.yaml]\n", {"p.yaml": "$patch: delete\n" + SM}),
    "json-6902": (
        (2, 0), "bases: [../b]\npatchesJson6902:\n- target: {group: ambient.io, version: v1, kind: Agent, name: lead}\n"
                "  path: p.json\n",
        {"p.json": '[{"op":"replace","path":"/spec/prompt","value":"new"},{"op":"add","path":"/spec/list/1","value":7},'
                   '{"op":"add","path":"/spec/list/-","value":8},{"op":"remove","path":"/spec/nested/other"},'
                   '{"op":"copy","from":"/spec/number","path":"/spec/copied"},'
                   '{"op":"move","from":"/spec/flag","path":"/spec/moved"},'
                   '{"op":"test","path":"/spec/number","value":3},'
                   '{"op":"add","path":"/metadata/labels/a~1b~0c","value":"v"}]'}),
    "two-layers": ((2, 0), "bases: [../m]\nnamePrefix: o-\n",
                   {"../m/kustomization.yaml": "bases: [../b]\nnamePrefix: m-\ncommonLabels: {layer: m}\n"}),
    "patch-by-a-former-name": ((4, 0), "resources: [../m]\npatches: [{path: p.yaml}]\n",
                               {"../m/kustomization.yaml": "resources: [../b]\nnamePrefix: m-\n",
                                "p.yaml": SM + "spec: {prompt: found}\n"}),
    "patches-with-target": (
        (4, 0), "resources: [../b]\npatches:\n- target: {kind: Agent}\n  patch: |\n    apiVersion: ambient.io/v1\n"
                "    kind: Agent\n    metadata: {name: any}\n    spec: {model: m}\n", {}),
    "target-regex": ((4, 0), "resources: [../b]\npatches:\n- target: {kind: Agent, name: l.*}\n  patch: |\n"
                             "    - {op: replace, path: /spec/number, value: 99}\n", {}),
    "target-is-anchored": ((4, 0), "resources: [../b]\npatches:\n- target: {kind: Agent, name: ea}\n  patch: |\n"
                                   "    - {op: replace, path: /spec/number, value: 99}\n", {}),
    "target-label-selector": (
        (4, 0), "resources: [../b]\npatches:\n"
                "- target: {labelSelector: 'app.kubernetes.io/name in (api,x)'}\n  patch: |\n"
                "    - {op: replace, path: /spec/number, value: 99}\n", {}),
    "target-annotation-selector": (
        (4, 0), "resources: [../b]\npatches:\n- target: {annotationSelector: note=kept, name: api}\n  patch: |\n"
                "    - {op: add, path: /spec/seen, value: true}\n", {}),
    "replace-directive": (
        (4, 0), "resources: [../b]\npatches:\n- patch: |\n    apiVersion: ambient.io/v1\n    kind: Agent\n"
                "    metadata: {name: lead}\n    spec: {nested: {$patch: replace, only: this}}\n", {}),
    "name-change-is-ignored": (
        (4, 0), "resources: [../b]\npatches:\n- target: {kind: Credential, name: lead-key}\n  patch: |\n"
                "    apiVersion: ambient.io/v1\n    kind: Credential\n    metadata: {name: other}\n"
                "    spec: {url: changed}\n", {}),
    "name-change-when-allowed": (
        (4, 2), "resources: [../b]\npatches:\n- target: {kind: Credential, name: lead-key}\n"
                "  options: {allowNameChange: true}\n"
                "  patch: |\n    apiVersion: ambient.io/v1\n    kind: Credential\n    metadata: {name: other}\n", {}),
    "labels": ((4, 1), "resources: [../b]\nlabels:\n- pairs: {a: b}\n- pairs: {team: other}\n", {}),
    "component": (
        (4, 0), "resources: [../b]\ncomponents: [../c]\nnamePrefix: o-\n",
        {"../c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\n"
                                    "kind: Component\nresources: [r.yaml]\n"
                                    "commonAnnotations: {from: component}\npatches: [{path: p.yaml}]\n",
         "../c/r.yaml": "apiVersion: ambient.io/v1\nkind: Project\nmetadata: {name: extra}\nspec: {prompt: p}\n",
         "../c/p.yaml": SM + "spec: {prompt: by component}\n"}),
    "config-map": (
        (4, 0), "configMapGenerator:\n- name: texts\n  files: [lead.md, other=sub/x.txt]\n  envs: [v.env]\n"
                "  literals: [a=b, 'quoted=\"x y\"']\n  options: {disableNameSuffixHash: true}\n",
        {"lead.md": "# You\n\ntext\n", "sub/x.txt": "x", "v.env": "# why\n\nKEY=value = more\nOTHER=\n"}),
    "replacements": (
        (4, 2), "resources: [../b]\nconfigMapGenerator:\n- name: texts\n  files: [lead.md]\n"
                "  options: {disableNameSuffixHash: true}\nreplacements:\n"
                "- source: {kind: ConfigMap, name: texts, fieldPath: data.lead\\.md}\n  targets:\n"
                "  - select: {kind: Agent}\n    reject: [{name: api}]\n    fieldPaths: [spec.prompt]\n"
                "- source: {kind: Agent, name: api, fieldPath: spec.number}\n  targets:\n"
                "  - select: {kind: Agent, name: lead}\n"
                "    fieldPaths: [spec.fresh.deep]\n    options: {create: true}\n",
        {"lead.md": "From a file.\n"}),
    "replacement-of-a-part": (
        (4, 2), "resources: [../b]\nreplacements:\n- path: r.yaml\n",
        {"r.yaml": "source: {kind: Agent, name: api, fieldPath: metadata.name}\ntargets:\n"
                   "- select: {kind: Credential, name: lead-key}\n  fieldPaths: [spec.url]\n"
                   "  options: {delimiter: /, index: 3}\n"}),
}


GENERATED = "configMapGenerator:\n- name: t\n  literals: [a=b, 'c=d=e', 'f=']\n"
PLAIN = "  options: {disableNameSuffixHash: true, labels: {q: own}}\n"
NUMBER = "replacements:\n- source: {kind: Agent, name: api, fieldPath: spec.number}\n  targets:\n  - select: "


def operations(target, *ops):
    lines = "".join(f"    - {{{op}}}\n" for op in ops)
    return f"resources: [../b]\npatches:\n- target: {{{target}}}\n  patch: |\n" + lines


SAME |= {
    "generator-options": ((4, 0), "generatorOptions: {disableNameSuffixHash: true, labels: {q: r, s: t}, "
                                  "annotations: {u: v}, immutable: true}\nnamePrefix: o-\n" + GENERATED + PLAIN, {}),
    "replace-what-is-not-there": ((4, 0), operations("kind: Agent", "op: replace, path: /spec/none, value: 1"), {}),
    "positions-in-a-list": ((4, 0), operations(
        "kind: Agent, name: lead", "op: add, path: /spec/list/0, value: 0", "op: remove, path: /spec/list/2",
        "op: replace, path: /spec/list/2/a, value: 7"), {}),
    "target-group-and-version": (
        (4, 0), operations("group: ambient.io, version: v1", "op: add, path: /spec/q, value: 0"), {}),
    "target-of-another-group": ((4, 0), operations("group: x.io, kind: Agent", "op: add, path: /spec/q, value: 0"), {}),
    "target-kind-regex": ((4, 0), operations("kind: 'Ag.*|Credential'", "op: add, path: /spec/q, value: 0"), {}),
    "target-without-label": ((4, 0), operations("labelSelector: '!team'", "op: add, path: /spec/q, value: 0"), {}),
    "target-by-name-before-and-after": (
        (4, 0), "resources: [../m]\nnamePrefix: o-\npatches:\n- target: {kind: Agent, name: m-lead}\n  patch: |\n"
                "    - {op: add, path: /spec/q, value: 0}\n- target: {kind: Agent, name: api}\n  patch: |\n"
                "    - {op: add, path: /spec/r, value: 0}\n",
        {"../m/kustomization.yaml": "resources: [../b]\nnamePrefix: m-\n"}),
    "several-patches-in-a-file": (
        (4, 0), "resources: [../b]\npatches: [{path: p.yaml}]\n",
        {"p.yaml": SM + "spec: {prompt: a}\n---\n" + SM.replace("lead", "api") + "spec: {nested: {}, list: null}\n"}),
    "patch-deletes-its-target": (
        (4, 0), "resources: [../b]\npatches:\n- target: {kind: Agent, name: api}\n  patch: |\n"
                "    $patch: delete\n    apiVersion: ambient.io/v1\n    kind: Agent\n    metadata: {name: any}\n", {}),
    "labels-with-selectors": ((4, 1), "resources: [../b]\nlabels:\n- pairs: {a: b}\n  includeSelectors: true\n"
                                      "- pairs: {c: d}\n  includeTemplates: true\n", {}),
    "replace-an-element": ((4, 2), "resources: [../b]\n" + NUMBER + "{kind: Agent, name: lead}\n"
                                   "    fieldPaths: [spec.list.0, spec.list.2.a]\n", {}),
    "replace-by-key": (
        (4, 2), "resources: [../b, r.yaml]\n" + NUMBER + "{kind: Box}\n"
                "    fieldPaths: ['spec.items.[name=b].v', 'spec.all.*.v', 'metadata.annotations.[x.y/z]']\n",
        {"r.yaml": "apiVersion: ambient.io/v1\nkind: Box\nmetadata: {name: box, annotations: {x.y/z: w}}\n"
                   "spec: {items: [{name: a, v: 1}, {name: b, v: 2}], all: [{v: 1}, {v: 2}]}\n"}),
    "replace-a-number-with-digits": ((4, 2), "resources: [../b, r.yaml]\nreplacements:\n- source: {kind: Box, "
                                             "fieldPath: spec.digits}\n  targets:\n  - select: {kind: Agent}\n"
                                             "    fieldPaths: [spec.number, spec.prompt]\n",
                                     {"r.yaml": "apiVersion: v1\nkind: Box\nmetadata: {name: box}\n"
                                                "spec: {digits: '12'}\n"}),
    "replace-with-a-map": ((4, 2), "resources: [../b]\nreplacements:\n"
                                   "- source: {kind: Agent, name: lead, fieldPath: spec.nested}\n  targets:\n"
                                   "  - select: {kind: Agent, name: api}\n    fieldPaths: [spec.copied]\n"
                                   "    options: {create: true}\n", {}),
    "replace-with-a-part": ((4, 2), "resources: [../b]\nreplacements:\n- source: {kind: Credential, name: lead-key, "
                                    "fieldPath: spec.url, options: {delimiter: ':', index: 1}}\n  targets:\n"
                                    "  - select: {kind: Agent, name: lead}\n    fieldPaths: [spec.prompt]\n", {}),
    "replace-by-the-new-name": ((4, 2), "resources: [../b]\nnamePrefix: o-\nreplacements:\n"
                                        "- source: {kind: Agent, name: api}\n  targets:\n"
                                        "  - select: {kind: Agent, name: lead}\n    fieldPaths: [spec.prompt]\n", {}),
    "component-renames": ((4, 0), "resources: [../b]\ncomponents: [../c]\n",
                          {"../c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
                                                      "namePrefix: c-\ncommonLabels: {from: component}\n"}),
    "one-base-twice": ((4, 0), "resources: [../m, ../n]\n",
                       {"../m/kustomization.yaml": "resources: [../b]\nnamePrefix: m-\n",
                        "../n/kustomization.yaml": "resources: [../b]\nnamePrefix: n-\n"}),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_documents_as_kubectl(build, acpctl, tmp_path, case):
    needs, overlay, files = SAME[case]
    version = kubectl_kustomize_version()
    if version is None:
        pytest.skip("kubectl is not installed (Debian: kubernetes-client)")
    if version < needs:
        pytest.skip(f"kubectl has kustomize {version[0]}.{version[1]}; this needs {needs[0]}.{needs[1]}")
    ours = build({**BASE, "o/kustomization.yaml": overlay,
                  **{os.path.normpath(f"o/{p}"): text for p, text in files.items()}})
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path / "o")], capture_output=True, text=True,
                          timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    theirs = list(yaml.safe_load_all(done.stdout))
    key = lambda d: (d["kind"], d["metadata"]["name"])  # noqa: E731
    assert sorted(ours, key=key) == sorted(theirs, key=key)


# name: (overlay, further files, what kubectl says too, ours)
BOTH_REFUSE = {
    "unknown-name": ("resources: [../b]\npatchesStrategicMerge: [p.yaml]\n", {"p.yaml": SM.replace("lead", "nobody")},
                     "no document for patch agent/nobody"),
    "twice": ("resources: [../b, ../b/x.yaml]\n", {}, "agent/lead is in "),
    "missing": ("resources: [none.yaml]\n", {}, "none.yaml: No such file or directory"),
    "cycle": ("resources: [../m]\n", {"../m/kustomization.yaml": "resources: [../o]\n"}, "cycle: "),
    "two-files": ("resources: [../b]\n", {"kustomization.yml": "resources: [../b]\n"}, "only one kustomization file"),
    "unknown-member": ("resources: [../b]\nfrobnicate: true\n", {}, "frobnicate is not supported"),
    "file-outside": ("resources: [../outside.yaml]\n", {"../outside.yaml": AGENT.format(n="z")},
                     "is outside the directories of this build; --load-restrictor=none allows it"),
    "json-patch-of-nothing": ("resources: [../b]\npatches:\n- target: {kind: Agent}\n  patch: |\n"
                              "    - {op: replace, path: /spec/none/none, value: 1}\n", {},
                              "operation 0 (replace /spec/none/none) does not fit the document"),
    "component-as-resource": ("resources: [../c]\n", {"../c/kustomization.yaml": "kind: Component\n"},
                              "is a Component: list it under components"),
    "empty": ("# nothing\n", {}, "kustomization.yaml is empty"),
    "remove-what-is-not-there": (operations("kind: Agent", "op: remove, path: /spec/none"), {}, "does not fit"),
    "a-test-that-fails": (operations("kind: Agent, name: lead", "op: test, path: /spec/number, value: 9"), {},
                          "does not fit"),
    "source-without-the-field": ("resources: [../b]\n" + NUMBER.replace("number", "none") + "{kind: Agent}\n", {},
                                 "none"),
    "ambiguous-source": ("resources: [../b]\nreplacements:\n- source: {kind: Agent}\n"
                         "  targets:\n  - select: {kind: Agent}\n",
                         {}, "several documents match the source"),
}


@pytest.mark.parametrize("case", BOTH_REFUSE)
def test_what_kubectl_refuses_is_refused(fails, tmp_path, case):
    overlay, files, text = BOTH_REFUSE[case]
    put(tmp_path, {**BASE, "o/kustomization.yaml": overlay,
                   **{os.path.normpath(f"o/{p}"): t for p, t in files.items()}})
    done = subprocess.run([os.path.join(BIN, "acpctl"), "kustomize", str(tmp_path / "o")],
                          capture_output=True, text=True,
                          timeout=DEADLINE, env=dict(os.environ, AMBIENT_CONFIG=str(tmp_path / "no-config")))
    assert done.returncode != 0 and text in done.stderr, done.stderr
    if (kubectl_kustomize_version() or (0, 0)) >= (4, 5):
        assert subprocess.run(["kubectl", "kustomize", str(tmp_path / "o")], capture_output=True,
                              timeout=DEADLINE).returncode != 0


# ---- our own documents and meaning ----

def flat(name, **members):
    return yaml.safe_dump({"kind": "Agent", "name": name, **members})


FLEET = {"base/kustomization.yaml": "resources: [project.yaml, lead.yaml, api.yaml]\n",
         "base/project.yaml": "kind: Project\nname: fleet\nprompt: p\n", "base/lead.yaml": flat("lead", prompt="l"),
         "base/api.yaml": flat("api", prompt="a", labels={"x": "1"})}


def test_flat_documents_are_patched_by_target_without_a_name(build):
    docs = build({**FLEET, "o/kustomization.yaml": "bases: [../base]\npatches:\n"
                                          "- path: p.yaml\n  target: {kind: agent}\n",
                  "o/p.yaml": "kind: Agent\nannotations: {git.ambient.io/base-branch: release-1.10}\nprompt: same\n"})
    assert [(d["name"], d.get("prompt"), d.get("annotations")) for d in docs] == [
        ("fleet", "p", None), ("lead", "same", {"git.ambient.io/base-branch": "release-1.10"}),
        ("api", "same", {"git.ambient.io/base-branch": "release-1.10"})]


def test_files_of_a_base_select_from_it(acpctl, build, tmp_path):
    files = {**FLEET, "o/kustomization.yaml": "bases: [../base]\n"
                                      "resources: [../base/project.yaml, ../base/api.yaml, own.yaml]\n",
             "o/own.yaml": flat("own")}
    assert [d["name"] for d in build(files)] == ["fleet", "api", "own"]
    assert "note: overlay selects 2 of 3 documents from ../base" in acpctl("kustomize", str(tmp_path / "o")).stderr
    assert [d["name"] for d in build(files, "o", "--no-base-selection")] == ["fleet", "lead", "api", "own"]


def test_a_flat_patch_fits_a_nested_document_and_the_other_way_round(build):
    docs = build({**BASE, **FLEET, "o/kustomization.yaml": "resources: [../b]\npatches: [{path: p.yaml}]\n",
                  "o/p.yaml": flat("lead", prompt="new", labels={"a": "b"})})
    lead = next(d for d in docs if d["metadata"]["name"] == "lead")
    assert lead["spec"]["prompt"] == "new" and lead["metadata"]["labels"]["a"] == "b" and "prompt" not in lead
    docs = build({"o2/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
                  "o2/p.yaml": "kind: Agent\nmetadata: {name: lead, labels: {a: b}}\nspec: {prompt: new}\n"}, "o2")
    assert next(d for d in docs if d["name"] == "lead") == {"kind": "Agent", "name": "lead", "prompt": "new",
                                                            "labels": {"a": "b"}}


def test_a_patch_reaches_every_member(build):
    """PR #1183 merged the credential's fields; sequences and bindings were still dropped."""
    docs = build({"o/kustomization.yaml": "resources: [r.yaml]\npatches: [{path: p.yaml}]\n",
                  "o/r.yaml": "kind: Credential\nname: c\nprovider: github\ntoken: $A\nurl: u\nemail: e\n---\n" +
                  flat("a", inbox=[{"from_name": "x", "body": "old"}]),
                  "o/p.yaml": "kind: Credential\nname: c\nprovider: gitlab\ntoken: $B\nurl: v\nemail: f\n"
                              "labels: {l: '1'}\ndescription: d\n---\n" + flat("a", inbox=[{"body": "new"}])})
    assert docs == [{"kind": "Credential", "name": "c", "provider": "gitlab", "token": "$B", "url": "v", "email": "f",
                     "labels": {"l": "1"}, "description": "d"},
                    {"kind": "Agent", "name": "a", "inbox": [{"body": "new"}]}]


def test_null_deletes_a_label_too(build):
    """kustomize makes the text "null" of it."""
    docs = build({**FLEET, "o/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
                  "o/p.yaml": "kind: Agent\nname: api\nlabels: {x: null, y: 1.10}\nprompt: null\n"})
    assert docs[2] == {"kind": "Agent", "name": "api", "labels": {"y": "1.10"}}


def test_several_bindings_stay_several(build):
    """They have no name: kind/name alone would leave the last one only."""
    binding = "kind: RoleBinding\nrole: agent:runner\nscope: agent\nscope_id: {a}\nuser_id: u\n---\n"
    docs = build({"o/kustomization.yaml": "resources: [r.yaml]\n",
                  "o/r.yaml": binding.format(a="x") + binding.format(a="y")})
    assert [d["scope_id"] for d in docs] == ["x", "y"]


def test_what_refers_to_a_renamed_document_follows(build):
    docs = build({"o/kustomization.yaml": "resources: [r.yaml]\nnamePrefix: dev-\n",
                  "o/r.yaml": "kind: Project\nname: p\n---\n" + flat("a", project="p") + "---\n"
                  "kind: ScheduledSession\nname: s\nagent: a\nschedule: '@daily'\nproject: p\n---\n"
                  "kind: RoleBinding\nrole: agent:runner\nscope: agent\nscope_id: a\nuser_id: u\n---\n"
                  "kind: Application\nname: g\ndestination: {project: p, credential: elsewhere}\n"})
    by_kind = {d["kind"]: d for d in docs}
    assert (by_kind["Agent"]["name"], by_kind["Agent"]["project"]) == ("dev-a", "dev-p")
    assert (by_kind["ScheduledSession"]["agent"], by_kind["ScheduledSession"]["project"]) == ("dev-a", "dev-p")
    assert by_kind["RoleBinding"]["scope_id"] == "dev-a" and by_kind["RoleBinding"]["role"] == "agent:runner"
    assert by_kind["Application"]["destination"] == {"project": "dev-p", "credential": "elsewhere"}


def test_prompts_from_files_of_a_generator(build):
    docs = build({**FLEET, "o/kustomization.yaml": """
resources: [../base]
configMapGenerator: [{name: prompts, files: [lead=lead.md]}]
replacements:
- source: {kind: ConfigMap, name: prompts, fieldPath: data.lead}
  targets: [{select: {kind: Agent, name: lead}, fieldPaths: [spec.prompt]}]
""", "o/lead.md": "Long\n\ntext\n"})
    assert next(d for d in docs if d.get("name") == "lead")["prompt"] == "Long\n\ntext\n"


def test_a_target_that_matches_nothing(acpctl, fails, build, tmp_path):
    files = {**FLEET, "o/kustomization.yaml": "resources: [../base]\n"
                                      "patches: [{path: p.yaml, target: {kind: Nothing}}]\n",
             "o/p.yaml": "prompt: x\n"}
    assert len(build(files)) == 3
    assert "warning: p.yaml: the target matches nothing" in acpctl("kustomize", str(tmp_path / "o")).stderr
    assert "the target matches nothing" in fails(files, "o", "--strict", code=3)


def test_a_patch_does_not_rename(acpctl, build, tmp_path):
    files = {**FLEET, "o/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml, target: {name: lead}}]\n",
             "o/p.yaml": "name: other\nprompt: x\n"}
    assert [d["name"] for d in build(files)] == ["fleet", "lead", "api"]
    assert "warning: p.yaml: a patch does not rename lead" in acpctl("kustomize", str(tmp_path / "o")).stderr


# ---- limits ----

def test_a_chain_that_is_too_deep(fails):
    files = {f"l{i}/kustomization.yaml": f"resources: [../l{i + 1}]\n" for i in range(70)}
    files["l70/kustomization.yaml"] = "resources: []\n"
    assert "kustomizations nested deeper than 64" in fails(files, "l0")


def test_a_cycle_prints_its_chain(acpctl, tmp_path):
    put(tmp_path, {"a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "bases: [../c]\n",
                   "c/kustomization.yaml": "resources: [../a]\n"})
    assert "cycle: a -> b -> c -> a" in acpctl("kustomize", "a", code=1, cwd=tmp_path).stderr


def test_a_repository_is_the_border(acpctl, fails, build, tmp_path):
    files = {"repo/.git/HEAD": "", "repo/o/kustomization.yaml": "resources: [../shared/x.yaml]\n",
             "repo/shared/x.yaml": flat("x")}
    assert [d["name"] for d in build(files, "repo/o")] == ["x"]
    for outside in ("../../out/x.yaml", "../../out", "link.yaml"):
        files = {"repo/o/kustomization.yaml": f"resources: [{outside}]\n", "out/x.yaml": flat("x"),
                 "out/kustomization.yaml": "resources: [x.yaml]\n"}
        if outside == "link.yaml":
            (tmp_path / "repo/o/link.yaml").symlink_to(tmp_path / "out/x.yaml")
        assert "is outside" in fails(files, "repo/o", code=5)
        assert [d["name"] for d in build(files, "repo/o", "--load-restrictor=none")] == ["x"]


@pytest.mark.parametrize("name", ["https://github.com/a/b//c?ref=v1", "git@github.com:a/b", "github.com/a/b"])
def test_remote_bases(fails, name):
    assert "remote bases are not fetched" in fails({"o/kustomization.yaml": f"resources: ['{name}']\n"}, code=2)


def test_no_kustomization(fails, tmp_path):
    (tmp_path / "o").mkdir()
    assert "no kustomization.yaml found in " in fails({}, code=3)
