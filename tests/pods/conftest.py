import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / other) for other in ("kube", "api", "chaos"))]
import node_support  # noqa: E402


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A cluster with one node."""
    cache, why = node_support.find_node()
    if not cache:
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("node")
    cluster = node_support.Cluster(directory, cache)
    made = node_support.Node(cluster, cache, directory)
    try:
        cluster.start()
        yield made.start()
    finally:
        made.stop()
        cluster.stop()
