import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "api"),
                str(pathlib.Path(__file__).parents[1])]
import chaos_support  # noqa: E402
import plane_support  # noqa: E402


@pytest.fixture(scope="session")
def protos(tmp_path_factory):
    """A directory with what protoc's own Python generator makes of our .proto files."""
    return chaos_support.compile_protos(tmp_path_factory.mktemp("protos"))


@pytest.fixture
def make_plane(tmp_path):
    """make_plane("runner's arguments", SETTING="value"); ended with the test."""
    planes = []

    def make(arguments="", **env):
        planes.append(plane_support.Plane(tmp_path, arguments, **env))
        return planes[-1]
    yield make
    for plane in planes:
        plane.close()
