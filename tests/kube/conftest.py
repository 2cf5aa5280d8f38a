"""One API server with the operators' definitions for all tests of this folder."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.kube import altinity
from tests.kube.client import Kubernetes
from tests.kube.control_plane import running
from toolchain.console import ToolchainError
from toolchain.crds import ensure_crds
from toolchain.kubernetes import ensure_control_plane
from toolchain.places import Places


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server without any operator's kinds; a failure where it can't be built."""
    try:
        programs = ensure_control_plane(Places.of())
    except ToolchainError as error:
        pytest.fail(str(error))
    with running(programs, tmp_path_factory.mktemp("control-plane")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster(bare_cluster: Kubernetes) -> Kubernetes:
    """The same server with the custom resource definitions of every operator that has them in a package."""
    try:
        files = ensure_crds(Places.of())
    except ToolchainError as error:
        pytest.fail(str(error))
    bare_cluster.define({_name(text): text for text in (file.read_text() for file in files)} | altinity.definitions())
    return bare_cluster


def _name(definition: str) -> str:
    """metadata.name; reading all of these files as YAML takes many seconds."""
    found = re.search(r"^  name: (\S+)$", definition, re.MULTILINE)
    assert found, definition[:200]
    return found.group(1)
