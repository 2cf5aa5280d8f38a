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

from cdc.connect import ConnectClient, NoConnectorError, Status
from cdc.trust import verified_clickhouse, verified_postgres
from cdc.waiting import Deadline

Postgres = psycopg.Connection[tuple[Any, ...]]


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

    def postgres(self, *, autocommit: bool = True) -> Postgres:
        """Open a connection to the source as its admin."""
        return self._postgres("postgresUser", "postgresPassword", autocommit=autocommit)

    def postgres_operator(self, *, autocommit: bool = True) -> Postgres:
        """Open a connection to the source that reads captured tables and ``cdc``, and sends signals."""
        return self._postgres("operatorUser", "postgresOperatorPassword", autocommit=autocommit)

    def postgres_application(self, *, autocommit: bool = True) -> Postgres:
        """Open a connection that writes rows as the shop does; NoStackError where the source is not ours."""
        if "applicationUser" not in self.outputs:
            raise NoStackError("the source of this stack is external: write to it with an application of its own")
        return self._postgres("applicationUser", "applicationPassword", autocommit=autocommit)

    def clickhouse(self) -> Client:
        """Open a client of ClickHouse that only reads what the pipeline delivers."""
        return self._clickhouse("clickhouseUser", "clickhousePassword")

    def clickhouse_operator(self, *, timeout: float = 300.0) -> Client:
        """Open a client that reads data and system tables, and inserts; a call may take ``timeout`` seconds."""
        return self._clickhouse("operatorUser", "clickhouseOperatorPassword", timeout=timeout)

    def clickhouse_admin(self) -> Client:
        """Open a client that may do everything; for recovery, which takes Kafka tables off and on again."""
        return self._clickhouse("clickhouseAdminUser", "clickhouseAdminPassword")

    def _postgres(self, user: str, password: str, *, autocommit: bool) -> Postgres:
        host, port = str(self._output("postgresAddress")).rsplit(":", 1)
        return psycopg.connect(
            host=host,
            port=int(port),
            dbname=self._output("postgresDatabase"),
            user=self._output(user),
            password=self._output(password),
            autocommit=autocommit,
            connect_timeout=10,
            **verified_postgres(self._ca),
        )

    def _clickhouse(self, user: str, password: str, *, timeout: float = 300.0) -> Client:
        host, port = str(self._output("clickhouseNativeAddress")).rsplit(":", 1)
        return Client(
            host=host,
            port=int(port),
            user=self._output(user),
            password=self._output(password),
            database=self._output("clickhouseDatabase"),
            connect_timeout=10,
            send_receive_timeout=timeout,
            **verified_clickhouse(self._ca),
        )

    def connector(self, *, seconds: float) -> Status | None:
        """States of the connector and its tasks; None when Connect answers that there is no such connector."""
        try:
            client = ConnectClient(self.connect_url, Deadline(seconds), ca=self._ca)
            return client.status(str(self._output("connectorName")))
        except NoConnectorError:
            return None

    @property
    def kafka(self) -> dict[str, Any]:
        """Options that every client of the cluster starts from; it stays quiet while no broker answers.

        Raises NoStackError when the login's files are not there.
        """
        options = {
            "bootstrap.servers": str(self._output("kafkaBootstrap")),
            "log_level": 0,
            "error_cb": lambda _: None,
        }
        login = self.outputs.get("kafkaLogin")
        return options | _kafka_login(login) if login else options

    @property
    def _ca(self) -> str:
        """Authority that servers are verified against, PEM; empty where the stack's networks are the host's own."""
        return str(self.outputs.get("ca") or "")

    def _output(self, name: str) -> Any:  # noqa: ANN401 - outputs are JSON
        if name not in self.outputs:
            raise NoStackError(
                f"the stack's outputs have no {name}: run `make up` again, it was made by an older release"
            )
        return self.outputs[name]

    @property
    def connect_url(self) -> str:
        """Kafka Connect's REST address."""
        url = str(self.outputs["connectUrl"])
        if urlsplit(url).scheme not in ("http", "https"):
            raise NoStackError(f"connectUrl {url!r} is not a web address; run `make up` again")
        return url


def _kafka_login(login: Mapping[str, str]) -> dict[str, str]:
    """SCRAM over TLS; password and authority are files that the cluster's operator keeps up to date."""
    try:
        password = Path(login["passwordFile"]).read_text()
    except OSError as error:
        raise NoStackError(f"Kafka's password can't be read: {error}; this stack's `cdc` runs in its pods") from None
    return {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": login["user"],
        "sasl.password": password.strip(),
        "ssl.ca.location": login["caFile"],
    }


def _ask_pulumi() -> str:
    command = ["pulumi", "stack", "output", "--json", "--show-secrets"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except FileNotFoundError:
        raise NoStackError('pulumi is not on PATH: use `make`, or `eval "$(make env)"` first') from None
    except subprocess.CalledProcessError as error:
        raise NoStackError(f"pulumi could not read the stack's outputs: {error.stderr.strip()}") from None
