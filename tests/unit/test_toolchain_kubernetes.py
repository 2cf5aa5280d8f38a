"""What the manifests are checked with: pinned in one place, refused when it is not what was pinned."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from components import versions
from toolchain import crds, gobuild
from toolchain.console import ToolchainError
from toolchain.golang import Go
from toolchain.kubernetes import API_SERVER, ETCD
from toolchain.places import ROOT, Places
from toolchain.preflight import Machine

MACHINE = Machine(system="linux", architecture="amd64")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(root=tmp_path / "clone", cache=tmp_path / "cache")


def answering(folder: Path, answer: dict[str, str]) -> Go:
    """A go command whose `mod download -json` gives this answer."""
    command = folder / "go"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    command.chmod(0o755)
    return Go(command=command, version="1.26.0", environ={})


def test_the_module_builds_the_pinned_versions() -> None:
    module = API_SERVER.module(Places.of())
    assert module == ETCD.module(Places.of()) == ROOT / "toolchain" / "go" / "kubernetes"
    text = (module / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{versions.KUBERNETES}\n" in text
    assert f"go.etcd.io/etcd/server/v3 v{versions.ETCD}" in text
    staged = set(re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ v(\S+)$", text, re.MULTILINE))
    assert staged == {versions.KUBERNETES.replace("1.", "0.", 1)}


def test_a_change_of_the_module_changes_both_programs(tmp_path: Path) -> None:
    changed = Places(root=tmp_path, cache=tmp_path)
    module = API_SERVER.module(changed)
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module other\n")
    for part in (API_SERVER, ETCD):
        assert gobuild.content_hash(part, changed, MACHINE) != gobuild.content_hash(part, Places.of(), MACHINE)


def test_definitions_come_from_the_pinned_operators() -> None:
    other = [dataclasses.replace(source, version="0.0.0") for source in crds.MODULES]
    assert crds.content_hash(other) != crds.content_hash()
    assert crds.STRIMZI.lock.read_text().splitlines()[0] == "# roots: " + " ".join(crds.STRIMZI.roots)


def test_a_module_with_another_checksum_is_not_used(places: Places, tmp_path: Path) -> None:
    go = answering(tmp_path, {"Dir": str(tmp_path), "Sum": "h1:other"})
    with pytest.raises(ToolchainError, match=r"cloudnative-pg@v\S+ has the checksum h1:other, not h1:"):
        crds._copy(crds.MODULES[0], tmp_path / "out", go, places)
    assert not (tmp_path / "out").exists()


def test_a_module_that_is_refused_is_named_with_the_cure(places: Places, tmp_path: Path) -> None:
    go = answering(tmp_path, {"Error": "403 Forbidden"})
    with pytest.raises(ToolchainError, match=r"cloudnative-pg@v\S+: 403 Forbidden; check the network and GOPROXY"):
        crds._copy(crds.MODULES[0], tmp_path / "out", go, places)


def test_a_module_without_definitions_is_no_success(places: Places, tmp_path: Path) -> None:
    go = answering(tmp_path, {"Dir": str(tmp_path), "Sum": crds.MODULES[0].checksum})
    with pytest.raises(ToolchainError, match="has no YAML in config/crd/bases"):
        crds._copy(crds.MODULES[0], tmp_path / "out", go, places)
