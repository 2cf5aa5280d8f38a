"""A small Kubernetes client: server-side apply with strict field validation, and what the server warned of."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

Manifest = Mapping[str, Any]
MANAGER = "cdc-tests"
SECONDS = 30.0
CRD_SECONDS = 60.0


class RefusedError(Exception):
    """The server refuses an object; the message is the server's."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where objects of one kind live."""

    plural: str
    namespaced: bool


@dataclass(kw_only=True)
class Kubernetes:
    """A running API server."""

    url: str
    session: requests.Session
    places: dict[tuple[str, str], Place] = field(default_factory=dict)

    def apply(self, manifest: Manifest, *, dry_run: bool) -> list[str]:
        """Apply one object as `kubectl apply --server-side --validate=strict` does; returns the server's warnings.

        Raises:
            RefusedError: unknown kind or field, wrong type, a value that the kind's validation refuses, or admission.
        """
        url = f"{self.url}{self._path(manifest)}/{manifest['metadata']['name']}"
        return self._patch(url, json.dumps(manifest), label(manifest), dry_run=dry_run)

    def _patch(self, url: str, text: str, what: str, *, dry_run: bool) -> list[str]:
        answer = self.session.patch(
            url,
            params={
                **{"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "true"},
                **({"dryRun": "All"} if dry_run else {}),
            },
            data=text.encode(),
            headers={"Content-Type": "application/apply-patch+yaml"},
            timeout=SECONDS,
        )
        if not answer.ok:
            raise RefusedError(f"{what}: {answer.json().get('message', answer.text)}")
        # One header for each warning, `299 - "text"`; requests would join them.
        return [text.partition('"')[2].rstrip('"') for text in answer.raw.headers.getlist("Warning")]

    def ensure_namespace(self, name: str) -> None:
        """Have a namespace, with the labels it has already or none."""
        if self.session.get(f"{self.url}/api/v1/namespaces/{name}", timeout=SECONDS).status_code == 404:
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=False)

    def define(self, definitions: Mapping[str, str]) -> None:
        """Add custom resource definitions (name to YAML, which goes to the server as it is); wait until all serve."""
        end = time.monotonic() + CRD_SECONDS
        base = f"{self.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for name, text in definitions.items():
            self._patch(f"{base}/{name}", text, f"CustomResourceDefinition {name}", dry_run=False)
        waiting = set(definitions)
        while waiting:
            if time.monotonic() > end:
                raise RefusedError(f"not served after {CRD_SECONDS:.0f} s: {', '.join(sorted(waiting))}")
            waiting = {name for name in waiting if not self._is_served(f"{base}/{name}")}
            time.sleep(0.2)

    def _is_served(self, url: str) -> bool:
        status = self.session.get(url, timeout=SECONDS).json().get("status", {})
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or []}
        if conditions.get("NonStructuralSchema") == "True":
            raise RefusedError(f"{url} has no structural schema, so that it refuses nothing")
        return conditions.get("Established") == "True"

    def _path(self, manifest: Manifest) -> str:
        place = self._place(manifest["apiVersion"], manifest["kind"])
        base = _group(manifest["apiVersion"])
        if not place.namespaced:
            return f"{base}/{place.plural}"
        namespace = manifest["metadata"].get("namespace")
        if not namespace:
            raise RefusedError(f"{label(manifest)}: metadata.namespace is missing; it would land in `default`")
        return f"{base}/namespaces/{namespace}/{place.plural}"

    def _place(self, version: str, kind: str) -> Place:
        if (version, kind) not in self.places:
            answer = self.session.get(f"{self.url}{_group(version)}", timeout=SECONDS)
            for each in answer.json().get("resources", []) if answer.ok else []:
                if "/" not in each["name"]:
                    self.places[version, each["kind"]] = Place(plural=each["name"], namespaced=each["namespaced"])
        if (version, kind) not in self.places:
            raise RefusedError(f"{version} {kind}: the server knows no such kind")
        return self.places[version, kind]


def label(manifest: Manifest) -> str:
    """How messages name an object."""
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def _group(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
