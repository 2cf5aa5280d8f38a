"""Run the real program against Pulumi mocks and keep what it registered: inputs, secrets, order, parents."""

from __future__ import annotations

import asyncio
import base64
import json
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

from tests.stacks import PROJECT, ROOT, prod_config, stack_config


@dataclass(kw_only=True)
class Registered:
    """One resource as the engine would see it; ``secrets`` are the paths of its secret inputs."""

    type: str
    name: str
    inputs: dict[str, Any]
    secrets: set[str]
    urn: str = ""
    parent: str = ""
    dependencies: list[str] = field(default_factory=list)
    protect: bool = False


@dataclass(kw_only=True)
class Deployment:
    """All that one run of the program registered."""

    resources: list[Registered]
    outputs: dict[str, Any]
    secret_outputs: set[str]

    def of_type(self, suffix: str) -> dict[str, Registered]:
        """Resources whose type ends in ``suffix``, by name."""
        return {resource.name: resource for resource in self.resources if resource.type.endswith(suffix)}

    def one(self, suffix: str) -> Registered:
        """The only resource of a type."""
        found = self.of_type(suffix)
        assert len(found) == 1, (suffix, list(found))
        return next(iter(found.values()))

    def comes_after(self, later: Registered, earlier: Registered) -> bool:
        """Whether ``later`` waits for ``earlier``, directly or through others."""
        by_urn = {resource.urn: resource for resource in self.resources}
        todo, seen = list(later.dependencies), set[str]()
        while todo:
            urn = todo.pop()
            if urn == earlier.urn:
                return True
            if urn in by_urn and urn not in seen:
                seen.add(urn)
                todo += by_urn[urn].dependencies
        return False


class Recorder(Mocks):
    """Answers as the providers would: what they compute is made up, all else echoes."""

    def __init__(self) -> None:
        self.resources: list[Registered] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.typ == "kubernetes:core/v1:Secret" and args.resource_id:
            # Looked up, not made: the authority that cert-manager issued.
            return args.resource_id, {"data": {"ca.crt": base64.b64encode(b"the authority").decode()}}
        secrets: set[str] = set()
        inputs = _unwrap(args.inputs, "", secrets)
        self.resources.append(Registered(type=args.typ, name=args.name, inputs=inputs, secrets=secrets))
        computed: dict[str, Any] = {}
        if args.typ.endswith("RandomPassword"):
            computed = {"result": _secret(f"password-of-{args.name}")}
        if args.typ.endswith("RandomId"):
            computed = {"b64Url": "abcdefghijklmnopqrstuv"}
        if args.typ.endswith("RemoteImage"):
            computed = {"imageId": f"sha256:{args.name}"}
        if args.typ.endswith("SourceSchema"):
            computed = {"generated_columns": ["inventory.orders.total_amount"]}
        if args.typ.endswith("DebeziumConnector"):
            computed = {"state": "RUNNING"}
        return f"{args.name}-id", {**args.inputs, **computed}

    def call(self, args: Any) -> tuple[dict[str, Any], None]:
        return {}, None


class RecordingMonitor(MockMonitor):
    """Keeps what mocks do not get to see: order, parents, stack outputs."""

    def __init__(self, mocks: Recorder) -> None:
        super().__init__(mocks)
        self.recorder = mocks
        self.outputs: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the RPC's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        for resource in self.recorder.resources:
            if resource.type == request.type and resource.name == request.name:
                resource.urn, resource.parent = response.urn, request.parent
                resource.dependencies = list(request.dependencies)
                resource.protect = bool(request.protect)
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the RPC's name
        if "pulumi:pulumi:Stack" in request.urn:
            self.outputs = rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def deploy(stack: str = "dev", config: Mapping[str, Any] | None = None) -> Deployment:
    """Run ``__main__.py`` for ``stack``, its file's configuration overlaid with ``config``."""
    recorder = Recorder()
    monitor = RecordingMonitor(recorder)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        set_mocks(recorder, project=PROJECT, stack=stack, preview=False, monitor=monitor)
        values = {**(prod_config() if stack == "prod" else stack_config(stack)), **(config or {})}
        pulumi.runtime.set_all_config({f"{PROJECT}:{key}": _as_text(value) for key, value in values.items()})
        # A run before this one leaves its stack resource behind, in the test process too.
        set_root_resource(cast(pulumi.Resource, None))
        loop.run_until_complete(run_in_stack(_run_program))
    finally:
        pulumi.runtime.set_all_config({})
        loop.close()
    secrets: set[str] = set()
    outputs = _unwrap(monitor.outputs, "", secrets)
    return Deployment(resources=recorder.resources, outputs=outputs, secret_outputs=secrets)


def _run_program() -> None:
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _secret(value: str) -> dict[str, str]:
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def _unwrap(value: Any, path: str, secrets: set[str]) -> Any:
    """Plain values; the path of each secret is noted, since Pulumi moves secretness up to what holds it."""
    if rpc.is_rpc_secret(value):
        secrets.add(path.lstrip("."))
        return _unwrap(value["value"], path, secrets)
    if isinstance(value, dict):
        return {key: _unwrap(item, f"{path}.{key}", secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_unwrap(item, f"{path}[{index}]", secrets) for index, item in enumerate(value)]
    return value
