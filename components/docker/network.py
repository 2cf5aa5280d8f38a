"""The two networks of the stack."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from components.names import STACK_LABEL, Names


class Network(pulumi.ComponentResource):
    """``backend`` has no way out; ``frontend`` lets the host reach what it must.

    Docker publishes no port of a container that sits on internal networks only, so parts that the operator's
    machine talks to sit on both.
    """

    backend: docker.Network
    frontend: docker.Network

    def __init__(self, name: str, *, names: Names, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:Network", name, None, opts)
        settings = names.settings
        label = docker.NetworkLabelArgs(label=STACK_LABEL, value=pulumi.get_stack())
        child = pulumi.ResourceOptions(parent=self)
        self.backend = docker.Network(
            "backend",
            name=names.resource("backend"),
            internal=True,
            labels=[label],
            ipam_configs=[docker.NetworkIpamConfigArgs(subnet=settings.backend_subnet)],
            opts=child,
        )
        self.frontend = docker.Network(
            "frontend",
            name=names.resource("frontend"),
            labels=[label],
            ipam_configs=[docker.NetworkIpamConfigArgs(subnet=settings.frontend_subnet)],
            opts=child,
        )
        self.register_outputs({})
