"""No stack breaks a policy: the rules of policies/ over all that the program declares."""

from __future__ import annotations

import pytest

from policies.resources import Resource
from policies.rules import findings
from tests.program.harness import deploy

PLATFORMS = {"dev": "docker", "prod": "kubernetes"}


@pytest.mark.parametrize("stack", PLATFORMS)
def test_the_stack_breaks_no_policy(stack: str) -> None:
    resources = [
        Resource(type=each.type, name=each.name, inputs=each.inputs, secrets=each.secrets)
        for each in deploy(stack).resources
    ]
    assert len(resources) > 10
    found = [finding for each in resources for finding in findings(each, PLATFORMS[stack])]
    assert not found, "\n".join(found)
