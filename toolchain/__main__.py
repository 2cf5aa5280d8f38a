"""``python -m toolchain <verb>``: gets what the pipeline needs onto this machine; toolchain/bootstrap.sh calls it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.configs.images import part_versions
from components.settings import Settings, SettingsError
from components.versions import OPTIONAL_PARTS
from toolchain import engine, images
from toolchain.console import ToolchainError, say, table
from toolchain.ensure import ensure, ensure_image_tools, lacking, pulumi_variables, workshop
from toolchain.images import ImageError, ensure_images
from toolchain.places import Places
from toolchain.session import exports
from toolchain.stack import StackError
from toolchain.stack_verbs import stack_verbs


def ensure_verb(places: Places) -> None:
    """Docker engine, Pulumi CLI and plugins."""
    say("ready:\n" + table(ensure(places)))


def engine_verb(places: Places) -> None:
    """Only the Docker engine."""
    say("ready:\n" + table([engine.ensure_engine(places)]))


def images_verb(places: Places) -> None:
    """Pull or build the image of every part."""
    engine.ensure_engine(places)
    settings = Settings.from_stack_file(places.root / f"Pulumi.{os.environ.get('STACK') or 'dev'}.yaml")
    versions = {
        "postgres": settings.postgres_version,
        "kafka": settings.kafka_version,
        "debezium": settings.debezium_version,
        "clickhouse": settings.clickhouse_version,
    }
    ensure_image_tools(images.host_requirements(settings.images, versions), places)
    wanted = part_versions(settings)
    found = ensure_images(settings.images, versions, say, parts=wanted)
    if missing := [part for part in wanted if part not in found and part not in OPTIONAL_PARTS]:
        raise ToolchainError(
            f"no image for {', '.join(missing)}: no registry answers and there is no recipe to build it; "
            "connect to a registry, or drop the setting that asks for it"
        )


def env_verb(places: Places) -> None:
    """Shell exports for running pulumi by hand: eval "$(toolchain/bootstrap.sh env)"."""
    sys.stdout.write(exports(pulumi_variables(places)) + "\n")


def machine_verb(places: Places) -> None:
    """Say what is there and what `ensure` would make; changes nothing."""
    shop = workshop(places)
    answer = engine.ask()
    say(f"machine: {shop.machine.system} {shop.machine.architecture}; cache {places.cache}")
    say(f"Docker engine: {answer.version or answer.error}")
    say("to be downloaded or built: " + (", ".join(lacking(shop)) or "nothing"))


VERBS: dict[str, Callable[[Places], None]] = {
    "ensure": ensure_verb,
    "engine": engine_verb,
    "images": images_verb,
    "env": env_verb,
    "machine": machine_verb,
    **stack_verbs(images_verb),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 1 with one message when something is missing or broken."""
    parser = argparse.ArgumentParser(prog="toolchain", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, verb in VERBS.items():
        verbs.add_parser(name, help=verb.__doc__)
    chosen = parser.parse_args(arguments)
    places = Places.of()
    try:
        VERBS[chosen.verb](places)
    except (ToolchainError, ImageError, StackError, SettingsError, OSError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("stopped; run it again to go on")
        return 130
    return 0


if __name__ == "__main__":
    # A caller's working folder must not matter: components and toolchain are found from the root.
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main())
