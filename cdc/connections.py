"""How the verbs reach a running pipeline: the stack's outputs, read once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from clickhouse_driver import Client


class NoStackError(Exception):
    """There are no outputs to read; the message says how to get them."""


@dataclass(frozen=True, kw_only=True)
class Connections:
    """Addresses and credentials of one running stack."""

    outputs: Mapping[str, Any]

    @classmethod
    def load(cls, source: str | None = None) -> Self:
        """Read stack outputs from the file ``source``, from standard input (``-``), or from Pulumi itself.

        Raises NoStackError when there is no stack or it has no outputs yet.
        """
        if source == "-":
            text = sys.stdin.read()
        elif source:
            text = Path(source).read_text()
        else:
            text = _ask_pulumi()
        outputs = json.loads(text or "{}")
        if "connectUrl" not in outputs:
            raise NoStackError("this stack has no outputs yet: bring it up with `make up`")
        return cls(outputs=outputs)

    def postgres(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection to the source database."""
        return self._postgres("postgres", autocommit=autocommit)

    def application(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection to the source as the application that writes there; without such a role as its owner."""
        return self._postgres("application" if "applicationUser" in self.outputs else "postgres", autocommit=True)

    def _postgres(self, role: str, *, autocommit: bool) -> psycopg.Connection[tuple[Any, ...]]:
        host, port = str(self.outputs["postgresAddress"]).rsplit(":", 1)
        return psycopg.connect(
            host=host,
            port=int(port),
            dbname=self.outputs["postgresDatabase"],
            user=self.outputs[f"{role}User"],
            password=self.outputs[f"{role}Password"],
            autocommit=autocommit,
            connect_timeout=10,
        )

    def clickhouse(self) -> Client:
        """Open a reading client of ClickHouse."""
        address = str(self.outputs["clickhouseNativeAddress"])
        host, port = address.rsplit(":", 1)
        return Client(
            host=host,
            port=int(port),
            user=self.outputs["clickhouseUser"],
            password=self.outputs["clickhousePassword"],
            database=self.outputs["clickhouseDatabase"],
            connect_timeout=10,
        )

    @property
    def connect_url(self) -> str:
        """Kafka Connect's REST address."""
        url = str(self.outputs["connectUrl"])
        if urlsplit(url).scheme not in ("http", "https"):
            raise NoStackError(f"connectUrl {url!r} is not a web address; run `make up` again")
        return url


def _ask_pulumi() -> str:
    command = ["pulumi", "stack", "output", "--json", "--show-secrets"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except FileNotFoundError:
        raise NoStackError('pulumi is not on PATH: use `make`, or `eval "$(make env)"` first') from None
    except subprocess.CalledProcessError as error:
        raise NoStackError(f"pulumi could not read the stack's outputs: {error.stderr.strip()}") from None
