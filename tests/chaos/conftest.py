import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "api")]
import chaos_support  # noqa: E402


@pytest.fixture(scope="session")
def protos(tmp_path_factory):
    """A directory with what protoc's own Python generator makes of our .proto files."""
    return chaos_support.compile_protos(tmp_path_factory.mktemp("protos"))
