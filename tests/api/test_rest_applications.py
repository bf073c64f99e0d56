"""Applications: the kind, and honest answers while there is no sync engine. rest-governance-and-auth.md 6.1."""
import json

import pytest

from api_support import expect_error


@pytest.fixture
def body(project):
    return {"name": "fleet", "source_repo_url": "https://git.example/fleet.git", "source_path": "overlays/prod",
            "destination_project": project}


@pytest.fixture
def made(api, body):
    return api.ok("POST", "/applications", body)


def test_create_read_change_delete(api, body):
    made = api.ok("POST", "/applications", body)
    assert made["kind"] == "Application" and made["href"] == f"/api/ambient/v1/applications/{made['id']}"
    assert "auto_sync" not in made and "sync_status" not in made
    path = f"/applications/{made['id']}"
    assert api.ok("GET", path) == made
    assert api.ok("PATCH", path, {"auto_sync": True, "labels": {"a": "b"}})["labels"] == '{"a":"b"}'
    listed = api.ok("GET", "/applications", query={"search": f"destination_project = '{body['destination_project']}'"})
    assert listed["kind"] == "ApplicationList" and [a["id"] for a in listed["items"]] == [made["id"]]
    expect_error(api.post("/applications", body), 409, 6)
    api.ok("DELETE", path)
    expect_error(api.get(path), 404, 7)
    api.ok("DELETE", path)  # as the reference: also for what is gone


def test_refusals(api, body):
    for key in body:
        expect_error(api.post("/applications", {k: v for k, v in body.items() if k != key}), 400, 17)
        expect_error(api.post("/applications", {**body, key: ""}), 400, 8, f"{key} is required")
    for change in ({"source_repo_url": "--upload-pack=x"}, {"source_path": "../x"}, {"source_path": "/x"},
                   {"sync_options": "Prune=true"}, {"destination_ambient_url": "ftp://x"}, {"retry_limit": -1},
                   {"destination_project": "a b"}, {"destination_ambient_url": "https://other.example"}):
        expect_error(api.post("/applications", {**body, **change}), 400, 8)
    expect_error(api.post("/applications", {**body, "id": "mine"}), 400, 8)
    expect_error(api.post("/applications", {**body, "project_id": "x"}), 400, 17)
    expect_error(api.post("/applications", "null"), 400, 17)
    expect_error(api.post("/applications", {**body, "labels": 1}), 400, 17)


def test_d71_sync_says_that_it_did_not(api, made):
    path = f"/applications/{made['id']}"
    answer = api.ok("POST", path + "/sync", {"prune": True}, status=200)
    assert answer["operation_phase"] == "Failed" and "no sync engine" in answer["operation_message"]
    refreshed = api.ok("POST", path + "/refresh", status=200)
    assert refreshed["sync_status"] == "Unknown"
    # Clients of the reference ask for both by a PATCH of one status field, and wait for the phase to change.
    assert api.ok("PATCH", path, {"operation_phase": "Running"})["operation_phase"] == "Failed"
    assert api.ok("PATCH", path, {"sync_status": "Unknown"})["sync_status"] == "Unknown"
    for tail in ("/sync", "/refresh"):
        expect_error(api.post(f"/applications/nobody{tail}"), 404, 7)


def test_d71_the_status_has_the_documented_shape_and_the_old_keys(api, made):
    path = f"/applications/{made['id']}/status"
    status = api.ok("GET", path)
    assert status["resource_status"] == [] and status["conditions"] == []
    assert (status["sync_status"], status["health_status"], status["operation_phase"]) == ("Unknown", "Unknown", "")
    api.ok("POST", f"/applications/{made['id']}/refresh", status=200)
    status = api.ok("GET", path)
    assert status["conditions"][0]["type"] == "RefreshError" and status["conditions"][0]["message"]
    whole = api.ok("GET", f"/applications/{made['id']}")
    assert json.loads(whole["conditions"]) == status["conditions"]
    assert {k: v for k, v in whole.items() if k != "conditions"}.items() <= {
        k: v for k, v in status.items() if k != "conditions"}.items()
    assert api.get("/applications/nobody/status").status == 404


class Gitops:
    """A gitops:admin and a gitops:viewer of one project, one for all, and somebody else."""

    def __init__(self, name, as_user, as_admin):
        self.admin, self.name = as_admin, name
        self.roles = {r["name"]: r["id"] for r in as_admin.items("/roles", size=-1)}
        self.writer, self.reader, self.everywhere, self.stranger = (
            as_user(f"{who}-{name}") for who in ("writer", "reader", "everywhere", "stranger"))
        self.project = as_user(f"owner-{name}").project(f"fleet-{name}")["id"]
        for role, who, scope in (("gitops:admin", "writer", {"scope": "project", "project_id": self.project}),
                                 ("gitops:viewer", "reader", {"scope": "project", "project_id": self.project}),
                                 ("gitops:viewer", "everywhere", {"scope": "global"})):
            as_admin.ok("POST", "/role_bindings", {"role_id": self.roles[role], "user_id": f"{who}-{name}", **scope})

    def body(self, **fields):
        return {"name": "x", "source_repo_url": "https://git.example/x.git", "source_path": "x",
                "destination_project": self.project, **fields}


@pytest.fixture
def gitops(name, as_user, as_admin):
    return Gitops(name, as_user, as_admin)


def test_d53_applications_are_filtered_by_gitops_roles(gitops):
    mine = gitops.writer.ok("POST", "/applications", gitops.body())
    other = gitops.admin.ok("POST", "/applications", gitops.body(destination_project="elsewhere"))
    search = {"search": "name = 'x' or name != ''"}
    assert [a["id"] for a in gitops.writer.items("/applications", **search)] == [mine["id"]]
    assert [a["id"] for a in gitops.reader.items("/applications")] == [mine["id"]]
    assert {mine["id"], other["id"]} <= {a["id"] for a in gitops.everywhere.items("/applications", size=-1)}
    assert gitops.stranger.items("/applications", **search) == []
    path = f"/applications/{mine['id']}"
    for tail in ("", "/status"):
        assert gitops.reader.get(path + tail).status == 200
        assert gitops.stranger.get(path + tail).status == 404
    for method, tail in (("PATCH", ""), ("POST", "/sync"), ("POST", "/refresh"), ("DELETE", "")):
        assert gitops.reader.call(method, path + tail, {}).status == 403
        assert gitops.stranger.call(method, path + tail, {}).status in (403, 204)
    assert gitops.admin.ok("GET", path)["id"] == mine["id"]
    # Neither made in, nor moved to, a project where the caller has no such role.
    expect_error(gitops.writer.post("/applications", gitops.body(destination_project="elsewhere", name="y")), 403, 4)
    expect_error(gitops.writer.patch(path, {"destination_project": "elsewhere"}), 403, 4)
    assert gitops.writer.post(path + "/sync").status == 200
    gitops.writer.ok("DELETE", path)


def test_d71_status_is_not_for_users(gitops):
    made = gitops.writer.ok("POST", "/applications", gitops.body(sync_status="", operation_phase=None))
    path = f"/applications/{made['id']}"
    for field, value in (("sync_status", "Synced"), ("health_status", "Healthy"), ("operation_phase", "Succeeded"),
                         ("sync_revision", "abc"), ("resource_status", "[]"), ("operation_message", "fine"),
                         ("last_synced_at", "2026-01-01T00:00:00Z"), ("conditions", "[]")):
        expect_error(gitops.writer.post("/applications", gitops.body(name="y", **{field: value})), 403, 4)
        expect_error(gitops.writer.patch(path, {field: value}), 403, 4)
    expect_error(gitops.writer.patch(path, {"sync_status": "Unknown", "health_status": "Healthy"}), 403, 4)
    assert gitops.admin.ok("PATCH", path, {"sync_status": "Synced"})["sync_status"] == "Synced"
    expect_error(gitops.admin.patch(path, {"sync_status": "Fine"}), 400, 8)
    assert gitops.writer.ok("PATCH", path, {"sync_status": "", "auto_sync": True})["auto_sync"] is True
    assert gitops.writer.ok("GET", path)["sync_status"] == "Synced"


def test_d53_a_credential_is_only_used_by_who_may(gitops, as_user):
    """The engine will act with it: whoever names it must be allowed to read its token."""
    mine = gitops.writer.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "t"})["id"]
    foreign = gitops.stranger.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "t"})["id"]
    remote = gitops.body(destination_ambient_url="https://other.example")
    expect_error(gitops.writer.post("/applications", remote), 400, 8, "credential_id is required with "
                 "destination_ambient_url")
    made = gitops.writer.ok("POST", "/applications", {**remote, "credential_id": mine})
    texts = set()
    for credential in (foreign, "2abCdEfGhIjKlMnOpQrStUvWxYz"):
        for answer in (gitops.writer.post("/applications", {**remote, "name": "y", "credential_id": credential}),
                       gitops.writer.patch(f"/applications/{made['id']}", {"credential_id": credential})):
            assert answer.status == 403
            texts.add(answer.reason)
    assert len(texts) == 1
