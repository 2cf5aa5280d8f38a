"""Our own programs on the cluster: the pipeline exporter, and the reconciliation that runs by the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.configs.edges import PODS
from components.configs.quantities import resources
from components.endpoints import Watched
from components.kubernetes.kafka import CA_SECRET
from components.kubernetes.kafka_users import OPERATOR_USER, REPLAY_USER
from components.kubernetes.manifests import (
    RESTRICTED_CONTAINER,
    Manifest,
    named,
    pull_secrets,
    register,
    restricted_pod,
    secret,
)
from components.kubernetes.network import PRIORITY_CLASS, Namespaces
from components.names import ANALYTICS_DATABASE, Names
from components.settings import Settings

UID: Final = 65534
OUTPUTS: Final = {OPERATOR_USER: "cdc-outputs", REPLAY_USER: "cdc-replay-outputs"}
"""Secrets that say where everything is, by the user of Kafka they log in as."""
FOLDER: Final = "/run/secrets/cdc"
KAFKA_FOLDER: Final = "/run/secrets/kafka"
PORT: Final = 9117


class Operations(pulumi.ComponentResource):
    """What watches and checks the pipeline from inside."""

    def __init__(
        self,
        name: str,
        *,
        names: Names,
        namespaces: Namespaces,
        image: str,
        watched: Watched,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("cdc:kubernetes:Operations", name, None, opts)
        settings, namespace = names.settings, namespaces.pipeline
        child = pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on)
        made = [
            register(secret(name_, namespace, {"outputs.json": inside_outputs(settings, watched, user)}), child)
            for user, name_ in OUTPUTS.items()
        ]
        after = child.merge(pulumi.ResourceOptions(depends_on=made))
        for program in (exporter, reconcile, heal, replay_errors):
            register(program(settings, namespace, image), after)
        self.register_outputs({})


def inside_outputs(settings: Settings, watched: Watched, user: str) -> pulumi.Output[str]:
    """The stack's outputs as JSON with the addresses of the inside: how `cdc` finds the pipeline in a container, where
    Kafka knows it as ``user``."""
    return pulumi.Output.json_dumps(
        {
            "postgresAddress": str(watched.source.inside),
            "postgresDatabase": watched.source.database,
            "operatorUser": watched.source_operator.user,
            "postgresOperatorPassword": watched.source_operator.password,
            "clickhouseNativeAddress": str(watched.clickhouse.inside_native),
            "clickhouseDatabase": ANALYTICS_DATABASE,
            "clickhouseOperatorPassword": watched.clickhouse.operator.password,
            "kafkaBootstrap": str(watched.kafka.inside),
            "kafkaLogin": {
                "user": user,
                "passwordFile": f"{KAFKA_FOLDER}/password/password",
                "caFile": f"{KAFKA_FOLDER}/ca/ca.crt",
            },
            "connectUrl": f"http://{watched.connect.inside}",
            "connectorName": settings.connector,
            "topicPrefix": settings.topic_prefix,
            "tables": settings.tables,
            "ca": watched.clickhouse.ca,
        }
    )


def exporter(settings: Settings, namespace: str, image: str) -> Manifest:
    """`python -m cdc exporter`."""
    probe = {"httpGet": {"path": "/metrics", "port": PORT}, "periodSeconds": 15, "timeoutSeconds": 10}
    # Topics and groups are shown by Strimzi's exporter.
    arguments = ["exporter", "--port", str(PORT), "--no-kafka-names"]
    container = _program("cdc-exporter", arguments, settings, image) | {
        "ports": [{"name": "metrics", "containerPort": PORT}],
        "livenessProbe": probe | {"failureThreshold": 6},
        "readinessProbe": probe,
    }
    labels = PODS["exporter"]
    return named("Deployment", "apps/v1", "cdc-exporter", namespace, labels=labels) | {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod(container, settings)},
        }
    }


def reconcile(settings: Settings, namespace: str, image: str) -> Manifest:
    """`python -m cdc reconcile`, by the clock; one at a time."""
    container = _program("cdc-reconcile", ["reconcile"], settings, image)
    schedule = settings.kubernetes.reconcile_schedule
    return cron("cdc-reconcile", namespace, schedule, PODS["reconcile"], _pod(container, settings))


def heal(settings: Settings, namespace: str, image: str) -> Manifest:
    """`python -m cdc reconcile --heal`, by hand."""
    container = _program("cdc-heal", ["reconcile", "--heal"], settings, image)
    return _by_hand("cdc-heal", namespace, PODS["reconcile"], _pod(container, settings))


def replay_errors(settings: Settings, namespace: str, image: str) -> Manifest:
    """`python -m cdc replay-errors`, by hand; the only one of our programs that may write to the topics."""
    container = _program("cdc-replay-errors", ["replay-errors"], settings, image)
    return _by_hand("cdc-replay-errors", namespace, PODS["replay"], _pod(container, settings, REPLAY_USER))


def _by_hand(name: str, namespace: str, labels: Mapping[str, str], pod: Manifest) -> Manifest:
    """A job that waits for `kubectl create job --from=cronjob/<name> …`."""
    job = cron(name, namespace, "0 0 1 1 *", labels, pod)
    job["spec"]["suspend"] = True
    return job


def cron(name: str, namespace: str, schedule: str, labels: Mapping[str, str], pod: Manifest) -> Manifest:
    """A job by the clock that never overlaps itself and does not run for ever."""
    template = {"metadata": {"labels": dict(labels)}, "spec": pod | {"restartPolicy": "Never"}}
    return named("CronJob", "batch/v1", name, namespace, labels=dict(labels)) | {
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {"spec": {"backoffLimit": 1, "activeDeadlineSeconds": 14400, "template": template}},
        }
    }


def hardened(
    container: Manifest, volumes: Sequence[Manifest], mounts: Mapping[str, str], priority: str, *, user: int = UID
) -> dict[str, Any]:
    """A pod of one container under Pod Security "restricted", with nothing to write on but a temporary folder."""
    paths = {**mounts, "tmp": "/tmp"}  # noqa: S108 - of the container
    return {
        "priorityClassName": priority,
        "automountServiceAccountToken": False,
        "securityContext": restricted_pod(user),
        "containers": [
            container
            | {
                "securityContext": RESTRICTED_CONTAINER,
                "volumeMounts": [
                    {"name": name, "mountPath": path, "readOnly": name != "tmp"} for name, path in paths.items()
                ],
            }
        ],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}],
    }


def _program(name: str, arguments: list[str], settings: Settings, image: str) -> Manifest:
    return {
        "name": name,
        "image": image,
        "args": ["--outputs", f"{FOLDER}/outputs.json", *arguments],
        "resources": resources("agent", settings.resource_scale),
    }


def _pod(container: Manifest, settings: Settings, user: str = OPERATOR_USER) -> Manifest:
    secrets = {
        "outputs": (OUTPUTS[user], FOLDER),
        # Strimzi makes and renews these two: the pod sees the newest at its next start.
        "kafka-password": (user, f"{KAFKA_FOLDER}/password"),
        "kafka-ca": (CA_SECRET, f"{KAFKA_FOLDER}/ca"),
    }
    volumes = [{"name": volume, "secret": {"secretName": name}} for volume, (name, _) in secrets.items()]
    mounts = {volume: folder for volume, (_, folder) in secrets.items()}
    return hardened(container, volumes, mounts, PRIORITY_CLASS) | pull_secrets(settings)
