"""The rules: each yields, for one resource, what is wrong with it and the cure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from policies.resources import Resource, items, mapping, pod_containers, texts

Finding = str
DOCKER, KUBERNETES = "docker", "kubernetes"
DOCKER_CONTAINER = "docker:index/container:Container"
DOCKER_IMAGE = "docker:index/remoteImage:RemoteImage"
HELM_RELEASE = "kubernetes:helm.sh/v3:Release"
MOVING_TAGS = ("latest", "stable", "edge", "main", "master", "nightly", "head")
COPIES = 3
"""Copies of data that survive the loss of one while another is being serviced."""
IN_SYNC = 2
SECRET_NAME = re.compile(r"(password|passwd|passphrase|secret_?key|access_?key|api_?key|private_?key|token)$", re.I)
REFERENCE = re.compile(r"^(\$\{[^}]+\}|/\S*|)$")
"""A value that says where the secret is and not what it is: ``${...}`` of a config provider, a file's path, nothing."""
KEY_OF_A_SECRET = ".passwordSecret.password"  # noqa: S105 - a path
"""Strimzi's name for the key in a Secret that holds the password."""
IN_TEXT = re.compile(r"(?im)^[^#\n]*(?:password|passphrase|secret_?key)[\"']?\s*[=:>]\s*[\"']?(?P<value>[^\s\"'<,;]+)")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One thing that no stack of ``platforms`` may do."""

    name: str
    description: str
    check: Callable[[Resource], Iterator[Finding]]
    platforms: Sequence[str] = (DOCKER, KUBERNETES)


def pinned_images(resource: Resource) -> Iterator[Finding]:
    """Images and charts have a version that stays."""
    if resource.type == HELM_RELEASE and not resource.inputs.get("version"):
        yield "version: the chart has none; pin it in components/versions.py"
    for path, key, value in texts(resource.inputs):
        named = key in ("image", "imageName") or (resource.type == DOCKER_IMAGE and path == "name")
        if named and not _pinned(value):
            yield f"{path} = {value!r}: no fixed version; give it a tag other than {'/'.join(MOVING_TAGS)}, or a digest"


def _pinned(reference: str) -> bool:
    if "sha256:" in reference:
        return True
    tag = reference.rpartition("/")[2].partition(":")[2]
    return bool(tag) and tag not in MOVING_TAGS


def no_plain_passwords(resource: Resource) -> Iterator[Finding]:
    """Passwords are in secrets and files, never in environments, ConfigMaps or plain state."""
    yield from _environment(resource)
    if resource.kind == "ConfigMap":
        for path, key, value in texts({"data": mapping(resource.inputs, "data")}):
            found = [*([value] if SECRET_NAME.search(key) else []), *(m["value"] for m in IN_TEXT.finditer(value))]
            if any(not REFERENCE.match(each) for each in found):
                yield f"{path}: a password in a ConfigMap; put it into a Secret and mount that"
    if resource.secrets is None:
        return
    for path, key, value in texts(resource.inputs):
        hidden = resource.kind == "Secret" and path.startswith(("data.", "stringData."))
        named = SECRET_NAME.search(key) and not REFERENCE.match(value) and not path.endswith(KEY_OF_A_SECRET)
        if (hidden or named) and not resource.is_secret(path):
            yield f"{path}: a password in clear in the state; make it a secret (pulumi.Output.secret)"


def _environment(resource: Resource) -> Iterator[Finding]:
    pairs = [str(entry).partition("=")[::2] for entry in items(resource.inputs, "envs")]
    for container in pod_containers(resource):
        pairs += [(str(each.get("name")), str(each.get("value", ""))) for each in items(container.fields, "env")]
    for name, value in pairs:
        if SECRET_NAME.search(name) and not REFERENCE.match(value):
            yield f"environment variable {name}: everyone who may inspect the container reads it; mount a file instead"


def limits(resource: Resource) -> Iterator[Finding]:
    """Every container has a memory limit, on Kubernetes requests too."""
    if resource.type == DOCKER_CONTAINER and not resource.inputs.get("memory"):
        yield "memory: no limit; take one from components/configs/resources.py"
    for container in pod_containers(resource):
        yield from _resources(container.name, mapping(container.fields, "resources"))
    if resource.kind in ("KafkaNodePool", "KafkaConnect", "Cluster"):
        yield from _resources("spec", mapping(resource.spec, "resources"))


def _resources(where: str, resources: Any) -> Iterator[Finding]:  # noqa: ANN401 - a mapping of the manifest
    needed = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
    missing = [f"{group}.{name}" for group, name in needed if not mapping(resources, group).get(name)]
    if missing:
        yield f"{where}: resources lack {', '.join(missing)}"


def health(resource: Resource) -> Iterator[Finding]:
    """Every container that serves is watched."""
    if resource.type == DOCKER_CONTAINER and not mapping(resource.inputs, "healthcheck").get("tests"):
        yield "healthcheck: there is none; give the service a command that fails when it does not serve"
    for container in pod_containers(resource):
        if container.steady and not {"livenessProbe", "readinessProbe"} & set(container.fields):
            yield f"{container.name}: neither readinessProbe nor livenessProbe"


def copies(resource: Resource) -> Iterator[Finding]:
    """What holds data survives the loss of a node."""
    for where, found, least in _counts(resource):
        if not isinstance(found, int | float) or found < least:
            yield f"{where} = {found!r}: below {least}; the loss of one node loses data or stops writes"


def _counts(resource: Resource) -> Iterator[tuple[str, Any, int]]:
    spec = resource.spec
    if resource.kind == "Kafka":
        config = mapping(spec, "kafka", "config")
        for key in ("default.replication.factor", "offsets.topic.replication.factor"):
            yield key, config.get(key), COPIES
        yield "transaction.state.log.replication.factor", config.get("transaction.state.log.replication.factor"), COPIES
        yield "min.insync.replicas", config.get("min.insync.replicas"), IN_SYNC
    if resource.kind in ("KafkaNodePool", "KafkaTopic"):
        yield "spec.replicas", spec.get("replicas"), COPIES
    if resource.kind == "Cluster":
        yield "spec.instances", spec.get("instances"), COPIES
    least = {"ClickHouseInstallation": IN_SYNC, "ClickHouseKeeperInstallation": COPIES}.get(resource.kind)
    for cluster in items(spec, "configuration", "clusters") if least else ():
        yield f"{cluster.get('name')}: replicasCount", mapping(cluster, "layout").get("replicasCount"), least or 0
    if resource.type.endswith("KafkaTopics"):
        for name, topic in mapping(resource.inputs, "topics").items():
            yield f"topic {name}: replication", topic.get("replication"), COPIES


def loopback(resource: Resource) -> Iterator[Finding]:
    """Docker publishes ports to this host only."""
    if resource.type == DOCKER_CONTAINER:
        for port in items(resource.inputs, "ports"):
            if port.get("ip") != "127.0.0.1":
                yield f"port {port.get('external')}: published on {port.get('ip') or 'every address'}; set ip 127.0.0.1"


def unprivileged(resource: Resource) -> Iterator[Finding]:
    """No container gets more of its host than it needs."""
    if resource.type == DOCKER_CONTAINER:
        yield from _docker_privileges(resource)
    for container in pod_containers(resource):
        yield from _pod_privileges(container.name, container.fields, container.pod)


def _docker_privileges(resource: Resource) -> Iterator[Finding]:
    inputs = resource.inputs
    if inputs.get("privileged"):
        yield "privileged: the container owns the host"
    if "no-new-privileges:true" not in items(inputs, "securityOpts"):
        yield "securityOpts: lacks no-new-privileges:true"
    for mode in ("networkMode", "pidMode", "ipcMode"):
        if inputs.get(mode) == "host":
            yield f"{mode}: shares the host's"
    if added := items(inputs, "capabilities", "adds"):
        yield f"capabilities: adds {', '.join(map(str, added))}"
    for mount in [*items(inputs, "mounts"), *items(inputs, "volumes")]:
        if "docker.sock" in str(mount.get("source") or mount.get("hostPath")):
            yield "mounts the engine's socket: whoever is in the container owns the host"


def _pod_privileges(name: str, fields: Any, pod: Any) -> Iterator[Finding]:  # noqa: ANN401 - mappings of the manifest
    context, around = mapping(fields, "securityContext"), mapping(pod, "securityContext")
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: securityContext lacks allowPrivilegeEscalation: false"
    if not (context.get("runAsNonRoot") or around.get("runAsNonRoot")):
        yield f"{name}: securityContext lacks runAsNonRoot: true"
    if "ALL" not in items(context, "capabilities", "drop"):
        yield f"{name}: securityContext.capabilities does not drop ALL"
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(host):
            yield f"{name}: {host}"
    for volume in items(pod, "volumes"):
        if "hostPath" in volume:
            yield f"{name}: mounts the host's {mapping(volume, 'hostPath').get('path')}"


RULES = (
    Rule(name="pinned-images", description="Images and charts have a fixed version.", check=pinned_images),
    Rule(
        name="no-plain-passwords",
        description="No password in an environment, a ConfigMap or the state.",
        check=no_plain_passwords,
    ),
    Rule(name="limits", description="Every container has a memory limit; on Kubernetes requests too.", check=limits),
    Rule(name="health-checks", description="Every container that serves is watched.", check=health),
    Rule(
        name="copies",
        description="Data survives the loss of a node.",
        check=copies,
        platforms=(KUBERNETES,),
    ),
    Rule(
        name="loopback-ports",
        description="Docker publishes ports on 127.0.0.1 only.",
        check=loopback,
        platforms=(DOCKER,),
    ),
    Rule(name="unprivileged", description="No container has more rights than it needs.", check=unprivileged),
)


def findings(resource: Resource, platform: str) -> list[Finding]:
    """All that the rules of ``platform`` find in a resource, each with the rule's name."""
    return [
        f"{resource.type} {resource.name}: {rule.name}: {finding}"
        for rule in RULES
        if platform in rule.platforms
        for finding in rule.check(resource)
    ]
