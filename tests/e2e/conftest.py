import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from platform_support import Platform  # noqa: E402


@pytest.fixture
def place(tmp_path):
    """A platform that is not up yet; whatever the test leaves running is stopped."""
    p = Platform(str(tmp_path))
    yield p
    p.ambient("down", check=False)


@pytest.fixture
def platform(place):
    place.up()
    return place


@pytest.fixture(scope="module")
def shared_platform(tmp_path_factory):
    """One platform for all tests of a file that leave it as they would like to find it."""
    p = Platform(str(tmp_path_factory.mktemp("shared")))
    p.up()
    yield p
    p.ambient("down", check=False)
