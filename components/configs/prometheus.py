"""Files of Prometheus, and of the agents that speak JMX for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from components.configs.render import render

MONITORING: Final = Path(__file__).parents[2] / "monitoring"
JMX_AGENT: Final = "/opt/jmx/jmx_prometheus_javaagent.jar"
"""Where the images that are built here have it."""
JMX_RULES_PATH: Final = "/etc/kafka/cdc/jmx.yml"
MOST_TIMEOUT_SECONDS: Final = 10


def prometheus_config(*, interval_seconds: int, targets: Mapping[str, str]) -> str:
    """``prometheus.yml``; ``targets`` maps each job to its host:port."""
    return render(
        "prometheus.yml",
        interval=interval_seconds,
        timeout=min(interval_seconds, MOST_TIMEOUT_SECONDS),
        jobs="".join(
            render("prometheus-job.yml", job=job, target=target) for job, target in sorted(targets.items())
        ).rstrip("\n"),
    )


def rule_files() -> dict[str, str]:
    """Text of each file of ``monitoring/rules`` by its name."""
    return {path.name: path.read_text() for path in sorted((MONITORING / "rules").glob("*.yml"))}


def jmx_rules(part: str) -> str:
    """Rules of the JMX agent of ``kafka`` or ``connect``."""
    return (MONITORING / "jmx" / f"{part}.yml").read_text()


def jmx_option(port: int) -> str:
    """Starts the agent with a server; in the container's environment Kafka's command-line tools would start it too."""
    return f"KAFKA_OPTS=-javaagent:{JMX_AGENT}={port}:{JMX_RULES_PATH}"
