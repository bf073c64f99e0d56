import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "api"),
                str(pathlib.Path(__file__).parents[1] / "chaos")]
import cluster_support  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """One cluster for all tests: each makes namespaces of its own."""
    binaries, why = cluster_support.find_binaries()
    if not binaries:
        pytest.skip(why)
    made = cluster_support.Cluster(tmp_path_factory.mktemp("cluster"), binaries)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def kubeconfig(cluster):
    import kube_plane
    return kube_plane.install(cluster)


@pytest.fixture
def make_plane(cluster, kubeconfig, tmp_path):
    """make_plane(SETTING="value"); ended with the test."""
    import kube_plane
    planes = []

    def make(**env):
        directory = tmp_path / str(len(planes))
        directory.mkdir()
        planes.append(kube_plane.Plane(cluster, directory, kubeconfig, **env))
        return planes[-1]
    yield make
    for plane in planes:
        plane.close()


@pytest.fixture
def plane(make_plane):
    return make_plane()
