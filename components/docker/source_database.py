"""The source database on Docker."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.configs.images import Image
from components.configs.resources import memory
from components.configs.source import pg_hba_conf, postgresql_conf
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Address, Credential, PostgresEndpoint
from components.names import POSTGRES_ADMIN, Names
from components.platform import Part

PART = "postgres-source"
POSTGRES_UID = "999"
DATA = "/var/lib/postgresql/data"
PASSWORD_FILE = "/run/secrets/postgres_password"  # noqa: S105 - where it is, not what it is


@dataclass(frozen=True, kw_only=True)
class SourceDatabaseArgs:
    """Image and network of the source database."""

    names: Names
    image: Image
    network: Network


class SourceDatabase(Part[PostgresEndpoint]):
    """PostgreSQL with logical decoding; its roles and publication are the SourceSchema provider's work."""

    def __init__(self, name: str, *, args: SourceDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:SourceDatabase", name, None, opts)
        settings = args.names.settings
        limits = memory(PART, settings.resource_scale)
        password = random.RandomPassword(
            "postgres-admin", length=32, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        container = service(
            PART,
            ServiceArgs(
                names=args.names,
                image=args.image,
                network=args.network,
                memory=limits,
                env={
                    "POSTGRES_USER": POSTGRES_ADMIN,
                    "POSTGRES_DB": settings.database,
                    "POSTGRES_PASSWORD_FILE": PASSWORD_FILE,
                    "PGDATA": f"{DATA}/pgdata",
                },
                files=[
                    File(path=PASSWORD_FILE, content=password.result, owner=POSTGRES_UID, mode="0400"),
                    File(
                        path="/etc/postgresql/postgresql.conf",
                        content=postgresql_conf(limits, max_slot_wal_keep_mb=settings.max_slot_wal_keep_mb),
                    ),
                    File(path="/etc/postgresql/pg_hba.conf", content=pg_hba_conf()),
                ],
                command=[
                    "postgres",
                    "-c",
                    "config_file=/etc/postgresql/postgresql.conf",
                    "-c",
                    "hba_file=/etc/postgresql/pg_hba.conf",
                ],
                volumes={"data": DATA},
                ports={5432: settings.postgres_port},
                health=["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", POSTGRES_ADMIN, "-d", settings.database],
                stop_signal="SIGINT",
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.identity = container.id
        self.endpoint = PostgresEndpoint(
            inside=Address(host=PART, port=5432),
            outside=Address(host=PUBLISHED_ON, port=settings.postgres_port),
            database=settings.database,
            admin=Credential(user=POSTGRES_ADMIN, password=password.result),
        )
        self.register_outputs({})
