"""The JMX agent beside a Java server."""

from __future__ import annotations

from components.configs.images import Image
from components.configs.prometheus import JMX_RULES_PATH, jmx_option, jmx_rules
from components.docker.service import File
from components.settings import Settings


def has_agent(settings: Settings, image: Image) -> bool:
    """Whether the server exports JMX: the agent comes with the images that are built here."""
    return settings.monitoring and image.source == "built"


def jmx_agent(settings: Settings, image: Image, *, rules: str, port: int) -> tuple[str, list[File]]:
    """What goes before the server's command, and the agent's file; nothing where there is no agent."""
    if not has_agent(settings, image):
        return "", []
    return jmx_option(port), [File(path=JMX_RULES_PATH, content=jmx_rules(rules))]
