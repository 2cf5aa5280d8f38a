"""Official downloads: bounded in time, checked against the published checksums and ours, whole or not there."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import requests

from toolchain.console import ToolchainError

CONNECT_SECONDS = 4.0
SILENCE_SECONDS = 15.0
"""Longest wait for the next bytes."""
PROBE_SECONDS = 8.0
TOTAL_SECONDS = 900.0
CHECKSUMS = Path(__file__).with_name("checksums.txt")
T = TypeVar("T")


class DownloadError(ToolchainError):
    """An official download is not to be had from here; the caller builds instead."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """One official archive and where its checksums are published."""

    url: str
    checksums: tuple[str, ...]
    """Addresses of the published list, tried in turn."""

    @property
    def name(self) -> str:
        """File name, as the checksum lists have it."""
        return self.url.rsplit("/", 1)[-1]


def within(seconds: float, what: str, work: Callable[[], T]) -> T:
    """Run ``work`` for at most ``seconds``, whatever it hangs on (name lookup has no time-out of its own).

    Raises:
        DownloadError: not done in time.
    """
    outcome: list[T | BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise DownloadError(f"{what}: no answer within {seconds:g} s")
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def reachable(url: str, seconds: float | None = None) -> str:
    """Empty if ``url`` can be downloaded from here, else why not; takes at most ``seconds`` (PROBE_SECONDS)."""
    limit = seconds or PROBE_SECONDS

    def head() -> int:
        return requests.head(url, timeout=(CONNECT_SECONDS, limit), allow_redirects=True).status_code

    try:
        status = within(limit, url, head)
    except DownloadError as error:
        return str(error)
    except requests.RequestException as error:
        return f"{url}: {type(error).__name__}"
    return "" if status == 200 else f"{url}: HTTP {status}"


def pinned(name: str, checksums: Path = CHECKSUMS) -> str:
    """The SHA-256 that we keep for a file, or an empty string."""
    lines = checksums.read_text().splitlines() if checksums.exists() else []
    return next((line.split()[0] for line in lines if line.split()[1:] == [name]), "")


def published(download: Download) -> str:
    """The SHA-256 that its makers publish for a download.

    Raises:
        DownloadError: no list can be had, or it doesn't name the file.
    """
    why = "no list is known"
    for url in download.checksums:
        try:
            answer = within(
                SILENCE_SECONDS, url, partial(requests.get, url, timeout=(CONNECT_SECONDS, SILENCE_SECONDS))
            )
            answer.raise_for_status()
        except (DownloadError, requests.RequestException) as error:
            why = f"{url}: {error}"
            continue
        for line in answer.text.splitlines():
            digest, _, name = line.partition(" ")
            if name.strip().lstrip("*") == download.name:
                return digest.lower()
        why = f"{url} does not name {download.name}"
    raise DownloadError(f"the checksum of {download.name} can't be had: {why}")


def fetch(download: Download, target: Path) -> None:
    """Fetch an archive to ``target`` and check it.

    Raises:
        DownloadError: it can't be had in time.
        ToolchainError: it came and its checksum is wrong.
    """
    wanted = published(download)
    if ours := pinned(download.name):
        _agree(download.name, wanted, ours, "the published list")
    unchecked = target.with_name(f".{target.name}.partial")
    try:
        digest = within(TOTAL_SECONDS, download.url, lambda: _stream(download.url, unchecked))
    except requests.RequestException as error:
        raise DownloadError(f"{download.url}: {error}") from error
    _agree(download.name, digest, wanted, download.url)
    unchecked.rename(target)


def _agree(name: str, got: str, wanted: str, source: str) -> None:
    if got != wanted:
        raise ToolchainError(
            f"{name} from {source} has the SHA-256 {got}, expected {wanted}; "
            "don't use it: check the network in between, and toolchain/checksums.txt after a change of version"
        )


def _stream(url: str, target: Path) -> str:
    digest, started = hashlib.sha256(), time.monotonic()
    with requests.get(url, stream=True, timeout=(CONNECT_SECONDS, SILENCE_SECONDS)) as answer, target.open("wb") as out:
        answer.raise_for_status()
        for chunk in answer.iter_content(1 << 20):
            if time.monotonic() - started > TOTAL_SECONDS:
                raise DownloadError(f"{url}: not done after {TOTAL_SECONDS:g} s")
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def unpack(archive: Path, target: Path, top: str = "") -> None:
    """Unpack a tar archive so that ``target`` appears only when it is whole; ``top`` is the folder taken from it."""
    unfinished = target.parent / f".{target.name}.partial"
    shutil.rmtree(unfinished, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unfinished, filter="data")
    (unfinished / top).rename(target)
    shutil.rmtree(unfinished, ignore_errors=True)
