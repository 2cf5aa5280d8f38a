"""The one way a container of the stack is made: image, files, health, limits, logs, restart."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_docker as docker

from components.configs.images import Image
from components.configs.resources import Memory
from components.docker.network import Network
from components.names import STACK_LABEL, Names

PUBLISHED_ON: Final = "127.0.0.1"
LOG_ROTATION: Final = {"max-size": "10m", "max-file": "3"}


@dataclass(frozen=True, kw_only=True)
class File:
    """A file put into the container before it starts; secrets come this way and not by environment.

    ``owner`` is a numeric user, possible only where the image itself starts as root: Engine 20.10 looks the image's
    user up on the host otherwise. Elsewhere a secret has mode 0444, as Docker's own secrets do: it can be read inside
    the container only, where nothing but its one service runs.
    """

    path: str
    content: pulumi.Input[str] | bytes
    owner: str | None = None
    mode: str = "0444"


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """One container; ``ports`` maps the port inside to the one on 127.0.0.1.

    ``host_paths`` maps folders of the host to where the container sees them, read-only.
    """

    names: Names
    image: Image
    network: Network
    memory: Memory
    health: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[File] = ()
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    host_paths: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)
    stop_signal: str | None = None


def service(name: str, args: ServiceArgs, *, opts: pulumi.ResourceOptions) -> docker.Container:
    """Make container ``name`` with its volumes; returns when it is healthy."""
    image = docker.RemoteImage(
        name, name=args.image.reference, keep_locally=True, opts=pulumi.ResourceOptions(parent=opts.parent)
    )
    return docker.Container(
        name,
        name=args.names.resource(name),
        image=image.image_id,
        hostname=name,
        envs=[f"{key}={value}" for key, value in sorted(args.env.items())],
        entrypoints=args.entrypoint,
        command=args.command,
        uploads=[_upload(file) for file in args.files],
        mounts=[_mount(name, args, purpose, path, opts) for purpose, path in args.volumes.items()]
        + [
            docker.ContainerMountArgs(type="bind", source=source, target=target, read_only=True)
            for source, target in args.host_paths.items()
        ],
        ports=[
            docker.ContainerPortArgs(internal=inside, external=outside, ip=PUBLISHED_ON)
            for inside, outside in args.ports.items()
        ],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=network.name, aliases=[name])
            for network in (args.network.backend, args.network.frontend)
        ],
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=args.health, interval="5s", timeout="10s", retries=5, start_period="3m0s"
        ),
        memory=args.memory.limit_mib,
        memory_swap=args.memory.limit_mib,
        restart="unless-stopped",
        log_driver="json-file",
        log_opts=LOG_ROTATION,
        security_opts=["no-new-privileges:true"],
        stop_signal=args.stop_signal,
        destroy_grace_seconds=30,
        labels=[
            docker.ContainerLabelArgs(label=STACK_LABEL, value=pulumi.get_stack()),
            docker.ContainerLabelArgs(label="cdc.part", value=name),
        ],
        wait=True,
        wait_timeout=args.names.settings.timeout_seconds,
        opts=opts.merge(pulumi.ResourceOptions(delete_before_replace=True)),
    )


def _upload(file: File) -> docker.ContainerUploadArgs:
    return docker.ContainerUploadArgs(
        file=file.path,
        content=None if isinstance(file.content, bytes) else file.content,
        content_base64=b64encode(file.content).decode() if isinstance(file.content, bytes) else None,
        owner=file.owner,
        group=file.owner,
        permissions=file.mode,
    )


def _mount(
    name: str, args: ServiceArgs, purpose: str, path: str, opts: pulumi.ResourceOptions
) -> docker.ContainerMountArgs:
    volume = docker.Volume(
        f"{name}-{purpose}",
        name=args.names.resource(f"{name}-{purpose}"),
        labels=[docker.VolumeLabelArgs(label=STACK_LABEL, value=pulumi.get_stack())],
        # A changed setting must not take the data with it: only `make down` lifts this.
        opts=pulumi.ResourceOptions(parent=opts.parent, protect=True),
    )
    return docker.ContainerMountArgs(type="volume", source=volume.name, target=path)
