"""Every Kubernetes object that a stack's program declares, as plain manifests with the secrets filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.program.harness import Deployment, deploy


def render(stack: str = "prod", config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Run the program of ``stack`` against mocks; ``config`` overlays its file. Helm releases are not expanded."""
    return manifests(deploy(stack, config))


def manifests(deployment: Deployment) -> list[dict[str, Any]]:
    """The objects of one run, in the order in which they were declared."""
    return [
        resource.inputs
        for resource in deployment.resources
        if resource.type.startswith("kubernetes:") and "kind" in resource.inputs
    ]
