"""A Kubernetes API server and its store, built from Go modules: what the manifests of a stack are checked against.

No cluster comes with it: no kubelet, no scheduler, no controllers; it stores objects and refuses bad ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components import versions
from toolchain import debian, gobuild, golang, preflight
from toolchain.ensure import workshop
from toolchain.gobuild import GoPart
from toolchain.lock import locked
from toolchain.places import Places

_MAJOR, _MINOR, _ = versions.KUBERNETES.split(".")
API_SERVER = GoPart(
    name="kube-apiserver",
    title="Kubernetes API server",
    version=versions.KUBERNETES,
    package="k8s.io/kubernetes/cmd/kube-apiserver",
    program="kube-apiserver",
    minutes=5,
    source="kubernetes",
    linker_flags=" ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in {
            "gitVersion": f"v{versions.KUBERNETES}",
            "gitMajor": _MAJOR,
            "gitMinor": _MINOR,
        }.items()
    ),
)
ETCD = GoPart(
    name="etcd",
    title="etcd",
    version=versions.ETCD,
    package="go.etcd.io/etcd/server/v3",
    program="etcd",
    minutes=0.5,
    source="kubernetes",
)
FREE_GIB = 5.0
"""Free space that building both needs."""


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """Programs of an API server with its store."""

    api_server: Path
    etcd: Path


def ensure_control_plane(places: Places) -> ControlPlane:
    """Have both programs; quick when they are there.

    Raises:
        ToolchainError: they can't be built here; the message names what is missing and the cure.
    """
    shop = workshop(places)
    folders = [gobuild.folder(part, places, shop.machine) for part in (API_SERVER, ETCD)]
    if not all(folder.exists() for folder in folders):
        places.logs.mkdir(parents=True, exist_ok=True)
        if not golang.candidates(places, shop.machine):
            debian.require([debian.GO], logs=places.logs)
        cure = "free some, or set CDC_CACHE to a folder on a larger disk"
        preflight.need_free(places.cache, FREE_GIB, purpose="building the Kubernetes API server", cure=cure)
        with locked(places.cache / "lock"):
            for part in (API_SERVER, ETCD):
                gobuild.build(part, places=places, machine=shop.machine, go=shop.go)
    api_server, etcd = folders
    return ControlPlane(api_server=api_server / API_SERVER.program, etcd=etcd / ETCD.program)
