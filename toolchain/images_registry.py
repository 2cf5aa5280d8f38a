"""Which registry answers, and pulling from it."""

import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from toolchain.recipes_run import run_logged

PROBE_SECONDS: Final = 5.0
"""A registry that has not answered by then counts as absent."""
PULL_SECONDS: Final = 1800


def registry_host(reference: str) -> str:
    """The registry of an image reference as the engine resolves it: ``docker.io`` unless the first part is a host."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def probe_urls(host: str, mirrors: Iterable[str] = ()) -> list[str]:
    """Addresses whose answer says that ``host`` can be pulled from; ``mirrors`` are the engine's for Docker Hub."""
    if host == "docker.io":
        return [f"{mirror.rstrip('/')}/v2/" for mirror in mirrors] + ["https://registry-1.docker.io/v2/"]
    plain = host.startswith(("localhost", "127.", "[::1]"))
    return [f"{'http' if plain else 'https'}://{host}/v2/"]


def engine_mirrors() -> list[str]:
    """The registry mirrors that the engine is set up with; none when it does not say."""
    try:
        answer = subprocess.run(
            ["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return [str(mirror) for mirror in json.loads(answer.stdout) or []]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def answering(hosts: Iterable[str], *, seconds: float = PROBE_SECONDS, mirrors: Iterable[str] = ()) -> set[str]:
    """Those of ``hosts`` where a registry answers within ``seconds``; all are asked at once.

    A login page, a proxy's refusal or silence is no answer: only a registry's own 200 or 401 counts.
    """
    found: set[str] = set()
    mirrors = list(mirrors)
    asked = [(host, url) for host in sorted(set(hosts)) for url in probe_urls(host, mirrors)]
    # Daemon threads: a name server or socket that hangs cannot be interrupted, only left behind.
    threads = [threading.Thread(target=_ask, args=(host, url, seconds, found), daemon=True) for host, url in asked]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return set(found)


def _ask(host: str, url: str, seconds: float, found: set[str]) -> None:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310 - built from http(s) addresses only
            status, headers = answer.status, answer.headers
    except urllib.error.HTTPError as error:
        status, headers = error.code, error.headers
    except (OSError, ValueError):
        return
    if status in (200, 401) and "registry/2.0" in headers.get("Docker-Distribution-Api-Version", ""):
        found.add(host)


def pull(reference: str, *, part: str, log: Callable[[str], None], log_file: Path) -> None:
    """Pull one image, with progress and a deadline.

    Raises:
        CommandError: naming the image and the cure.
    """
    started = time.monotonic()
    log(f"{part}: pulling {reference}")
    run_logged(
        ["docker", "pull", reference],
        what=f"{part}: docker pull {reference}",
        cure="check the network, the registry and `docker login`, or set images: build to make it from packages",
        deadline=PULL_SECONDS,
        log=log,
        log_file=log_file,
        env=dict(os.environ),
    )
    log(f"{part}: pulled in {time.monotonic() - started:.0f} s")
