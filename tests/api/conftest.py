"""Fixtures of the black-box tests. `server` is shared by a file's tests, which therefore use names of their own.

The files of ON_BOTH run on SQLite and on PostgreSQL; with AMBIENT_STORE=postgres all files run on PostgreSQL only."""
import itertools
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
import api_support
import postgres
from api_support import AUDIENCE, ISSUER
import rpc_support

_counter = itertools.count()


ON_BOTH = ("test_rest_agents", "test_rest_kinds", "test_rest_lists", "test_rest_messages", "test_rest_sessions",
           "test_rpc_messages", "test_rpc_watch")


def pytest_generate_tests(metafunc):
    if "store" in metafunc.fixturenames:
        only = os.environ.get("AMBIENT_STORE")
        both = ("sqlite", "postgres") if metafunc.module.__name__ in ON_BOTH else ("sqlite",)
        metafunc.parametrize("store", [only] if only else both, scope="module", indirect=True)


@pytest.fixture(scope="session")
def database():
    """A PostgreSQL server, for all files."""
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


@pytest.fixture(scope="module")
def store(request):
    """The URL of a new database; None: a file of SQLite beside the server's own."""
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("database")
    return server.url(server.database())


@pytest.fixture(scope="module")
def server(tmp_path_factory, store):
    """Development mode: every caller is dev-user, who may do all."""
    with api_support.running(tmp_path_factory.mktemp("api"), url=store) as running:
        yield running


@pytest.fixture
def api(server):
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def name():
    """A name nobody else uses."""
    return f"n{next(_counter)}"


@pytest.fixture
def project(api, name):
    return api.project(f"project-{name}")["id"]


@pytest.fixture(scope="module")
def keys():
    return api_support.Keys()


@pytest.fixture(scope="module")
def jwt_server(tmp_path_factory, keys, store):
    """JWT and authorization on; a service account, a service token and an admin token beside it."""
    directory = tmp_path_factory.mktemp("jwt")
    (directory / "jwks.json").write_text(keys.jwks())
    (directory / "admin").write_text("admin-secret\n")
    (directory / "admin").chmod(0o600)
    args = [f"--jwk-cert-file={directory / 'jwks.json'}", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE,
            f"--admin-token-file={directory / 'admin'}"]
    env = {"AMBIENT_ENV": "production", "AMBIENT_API_TOKEN": "service-secret", "GRPC_SERVICE_ACCOUNT": "platform"}
    with api_support.running(directory, args, env, store) as running:
        yield running


@pytest.fixture
def as_user(jwt_server, keys):
    """as_user("alice") is a client with alice's token."""
    clients = []

    def make(username, **claims):
        token = keys.token(username, iss=ISSUER, aud=AUDIENCE, **claims)
        clients.append(jwt_server.client(token))
        return clients[-1]
    yield make
    for client in clients:
        client.close()


@pytest.fixture
def as_admin(jwt_server):
    client = jwt_server.client("admin-secret")
    yield client
    client.close()


@pytest.fixture
def as_service(jwt_server):
    client = jwt_server.client("service-secret")
    yield client
    client.close()


@pytest.fixture
def rpc(server):
    with rpc_support.connected(server) as connected:
        yield connected


@pytest.fixture
def rpc_as(jwt_server, keys):
    """rpc_as("alice"), rpc_as(token="admin-secret"), rpc_as() without a token; metadata as pairs."""
    open_ones = []

    def make(username=None, token=None, metadata=(), **claims):
        if username is not None:
            token = keys.token(username, iss=ISSUER, aud=AUDIENCE, **claims)
        open_ones.append(rpc_support.Rpc(jwt_server.ports["grpc"], token, metadata))
        return open_ones[-1]
    yield make
    for connected in open_ones:
        connected.close()
