"""The configuration: config.xml with config.d, users.xml with users.d, and what the engine gets of them."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.users import ConfigurationError, User, engine_users, read_users


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the server itself reads of its configuration. Ports are 0 when switched off."""

    root: ET.Element
    users_root: ET.Element
    users: Mapping[str, User]
    data: Path
    listen: tuple[str, ...]
    http_port: int
    native_port: int
    metrics_port: int
    max_queries: int
    max_connections: int
    keep_alive: float
    shutdown_wait: float


def load(folder: Path) -> Configuration:
    """Reads the configuration folder; raises ConfigurationError with the file's name."""
    root, users_root = load_tree(folder, "config"), load_tree(folder, "users")
    return Configuration(
        root=root,
        users_root=users_root,
        users=read_users(users_root),
        data=Path(root.findtext("path") or "/var/lib/clickhouse/"),
        listen=tuple(dict.fromkeys((host.text or "").strip() for host in root.iterfind("listen_host"))) or ("0.0.0.0",),  # noqa: S104
        http_port=_number(root, "http_port", 8123),
        native_port=_number(root, "tcp_port", 9000),
        metrics_port=_number(root, "prometheus/port", 0),
        max_queries=_number(root, "max_concurrent_queries", 0) or 100,
        max_connections=_number(root, "max_connections", 0) or 1024,
        keep_alive=_number(root, "keep_alive_timeout", 30),
        shutdown_wait=_number(root, "shutdown_wait_unfinished", 3),
    )


def _number(root: ET.Element, path: str, default: int) -> int:
    text = (root.findtext(path) or "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"config.d: <{path}> is {text!r}; give a whole number") from None


def load_tree(folder: Path, name: str) -> ET.Element:
    """``<name>.xml`` merged with the files of ``<name>.d`` in the order of their names."""
    result = ET.Element("clickhouse")
    files = [folder / f"{name}.xml", *sorted((folder / f"{name}.d").glob("*.xml"))]
    for file in files:
        if not file.exists():
            continue
        try:
            overlay = ET.parse(file).getroot()  # noqa: S314  (the operator's own files)
        except ET.ParseError as error:
            raise ConfigurationError(f"{file} is not XML: {error}") from None
        _from_environment(overlay, file)
        merge(result, overlay)
    return result


def _from_environment(element: ET.Element, file: Path) -> None:
    """Fills elements with ``from_env``, as ClickHouse does."""
    for item in element.iter():
        if (variable := item.attrib.pop("from_env", None)) is None:
            continue
        if variable not in os.environ:
            raise ConfigurationError(f"{file}: <{item.tag} from_env> needs the environment variable {variable}")
        item.text = os.environ[variable]


def merge(base: ET.Element, overlay: ET.Element) -> None:
    """Merges like ClickHouse: by name; ``remove`` drops, ``replace`` takes the new element whole."""
    fresh: list[ET.Element] = []
    known = list(base)
    for item in overlay:
        remove, replace = item.attrib.pop("remove", None), item.attrib.pop("replace", None)
        found = next((child for child in known if child.tag == item.tag and child.attrib == item.attrib), None)
        if remove is not None or replace is not None:
            for child in [child for child in base if child.tag == item.tag]:
                base.remove(child)
            if remove is None:
                fresh.append(item)
        elif found is None:
            fresh.append(item)
        elif len(item) or len(found):
            merge(found, item)
        else:
            known.remove(found)
            found.text = item.text
    base.extend(fresh)


def write_engine_files(configuration: Configuration) -> Path:
    """Writes the engine's configuration into the data folder and returns the path of its config.xml."""
    folder = configuration.data / "preprocessed_configs"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    users_file, config_file = folder / "users.xml", folder / "config.xml"
    ET.ElementTree(engine_users(configuration.users_root, configuration.users)).write(users_file)
    root = configuration.root
    for name in ("users_config", "user_directories"):
        for child in root.findall(name):
            root.remove(child)
    ET.SubElement(root, "users_config").text = str(users_file)
    # The library takes its level from here; <logger><level> only switches logging on.
    ET.SubElement(root, "log-level").text = root.findtext("logger/level") or "warning"
    ET.ElementTree(root).write(config_file)
    return config_file
