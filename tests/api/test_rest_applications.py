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


def test_d53_strangers_see_no_applications(as_user, as_admin):
    mallory = as_user("mallory")
    made = as_admin.ok("POST", "/applications", {
        "name": "secret", "source_repo_url": "https://git.example/x.git", "source_path": "x",
        "destination_project": "somewhere"})
    assert mallory.items("/applications") == []
    assert mallory.items("/applications", search="name = 'secret' or name != ''") == []
    path = f"/applications/{made['id']}"
    assert mallory.get(path).status == 404 and mallory.get(path + "/status").status == 404
    for method, tail in (("PATCH", ""), ("POST", "/sync"), ("POST", "/refresh")):
        assert mallory.call(method, path + tail, {}).status == 403
    assert as_admin.ok("GET", path)["id"] == made["id"]


def test_d53_a_credential_is_only_used_by_who_may(as_user, as_admin):
    """The engine will act with it: whoever names it must be allowed to."""
    texts = set()
    secret = as_admin.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "t"})["id"]
    body = {"name": "x", "source_repo_url": "https://git.example/x.git", "source_path": "x",
            "destination_project": "elsewhere", "destination_ambient_url": "https://other.example"}
    made = as_admin.ok("POST", "/applications", {**body, "credential_id": secret})
    assert made["credential_id"] == secret
    for credential in (secret, "2abCdEfGhIjKlMnOpQrStUvWxYz"):
        answer = as_user("mallory").post("/applications", {**body, "name": "y", "credential_id": credential})
        assert answer.status == 403
        texts.add(answer.reason)
    assert len(texts) == 1
