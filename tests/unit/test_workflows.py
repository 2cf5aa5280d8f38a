"""The workflow of pull requests: it tests and previews both stacks, and can do no more than that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    # YAML reads a bare `on` as true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(scope="module")
def preview() -> dict[str, Any]:
    return read(ROOT / ".github" / "workflows" / "preview.yml")


def test_both_stacks_are_previewed_and_the_difference_is_a_comment(preview: dict[str, Any]) -> None:
    assert preview["jobs"]["preview"]["strategy"]["matrix"]["stack"] == ["dev", "prod"]
    (pulumi,) = [step["with"] for step in steps(preview) if str(step.get("uses")).startswith("pulumi/actions@")]
    assert pulumi["command"] == "preview"
    assert pulumi["comment-on-pr"] is True


def test_lint_and_tests_come_first(preview: dict[str, Any]) -> None:
    assert {"run": "make test"} in preview["jobs"]["test"]["steps"]
    assert preview["jobs"]["preview"]["needs"] == "test"
    assert re.search(r"^test: lint\b", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_deploys(path: Path) -> None:
    for step in steps(read(path)):
        assert not re.search(r"\b(pulumi|make)\s+(up|down|destroy|refresh|import)\b", str(step.get("run", "")))
        assert step.get("with", {}).get("command", "preview") == "preview"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_the_least_rights(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        writes = {scope for scope, right in job.get("permissions", {}).items() if right == "write"}
        assert writes <= ({"pull-requests"} if name == "preview" else set())
        assert job["timeout-minutes"] <= 90
    # pull_request_target would hand secrets to code that nobody has reviewed.
    assert set(workflow["on"]) == {"pull_request"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_have_a_version(path: Path) -> None:
    for step in steps(read(path)):
        if "uses" in step:
            assert re.fullmatch(r"(actions|pulumi)/[a-z-]+@v\d+(\.\d+)*|[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"])
