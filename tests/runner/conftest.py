import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../e2e"))
sys.path.append(os.path.join(os.path.dirname(__file__), "../api"))
from runner_support import Api, Runner  # noqa: E402


@pytest.fixture(scope="session")
def shared_api(tmp_path_factory):
    api = Api(tmp_path_factory.mktemp("api"))
    api.start()
    yield api
    api.stop()


@pytest.fixture
def api(shared_api):
    """For tests that leave the server as it is."""
    return shared_api


@pytest.fixture
def own_api(tmp_path):
    """For tests that kill it."""
    api = Api(tmp_path)
    api.start()
    yield api
    if api.process.poll() is None:
        api.stop()


@pytest.fixture
def runners(tmp_path):
    """runners(api, sid, **env) is a runner that has not been started; what the test leaves running is killed."""
    made = []

    def make(api, sid, **env):
        made.append(Runner(api, tmp_path, sid, **env))
        return made[-1]
    yield make
    for runner in made:
        if runner.process and runner.process.poll() is None:
            runner.kill()
