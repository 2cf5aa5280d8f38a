"""ClickHouse on Docker: one node, and one Keeper where tables are replicated."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.configs.clickhouse import keeper_config, server_config, users_config
from components.configs.images import Image
from components.configs.resources import Memory, memory
from components.docker.network import Network
from components.docker.service import PUBLISHED_ON, File, ServiceArgs, service
from components.endpoints import Address, ClickHouseEndpoint, Credential
from components.names import CLICKHOUSE_ADMIN, CLICKHOUSE_READER, OPERATOR_USER, Names
from components.platform import Part

PART = "clickhouse"
KEEPER = "clickhouse-keeper"
KEEPER_PORT = 9181
METRICS_PORT = 9363


@dataclass(frozen=True, kw_only=True)
class ClickHouseArgs:
    """Images and network; ``keeper_image`` where tables are replicated."""

    names: Names
    image: Image
    network: Network
    keeper_image: Image | None = None


class ClickHouse(Part[ClickHouseEndpoint]):
    """The analytics server; its schema is the ClickHouseSchema provider's work."""

    def __init__(self, name: str, *, args: ClickHouseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cdc:docker:ClickHouse", name, None, opts)
        settings = args.names.settings
        limits = memory(PART, settings.resource_scale)
        keeper = self._keeper(args)
        admin = self._password("clickhouse-admin")
        operator = self._password("clickhouse-operator")
        reader = self._password("clickhouse-reader")
        container = service(
            PART,
            ServiceArgs(
                names=args.names,
                image=args.image,
                network=args.network,
                memory=limits,
                # Users come from the file below; the official image would add a default user of its own.
                env={"CLICKHOUSE_SKIP_USER_SETUP": "1"},
                files=[
                    File(
                        path="/etc/clickhouse-server/config.d/cdc.xml",
                        content=server_config(limits, keeper=(KEEPER, KEEPER_PORT) if keeper else None),
                    ),
                    File(
                        path="/etc/clickhouse-server/users.d/cdc.xml",
                        content=pulumi.Output.all(admin, operator, reader).apply(lambda each: _users(limits, each)),
                    ),
                ],
                volumes={"data": "/var/lib/clickhouse"},
                ports={8123: settings.clickhouse_http_port, 9000: settings.clickhouse_native_port}
                | ({METRICS_PORT: settings.clickhouse_metrics_port} if settings.monitoring else {}),
                health=["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1:8123/ping"],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=keeper),
        )
        self.identity = container.id
        self.endpoint = ClickHouseEndpoint(
            http=Address(host=PUBLISHED_ON, port=settings.clickhouse_http_port),
            native=Address(host=PUBLISHED_ON, port=settings.clickhouse_native_port),
            inside_http=Address(host=PART, port=8123),
            inside_native=Address(host=PART, port=9000),
            admin=Credential(user=CLICKHOUSE_ADMIN, password=admin),
            operator=Credential(user=OPERATOR_USER, password=operator),
            reader=Credential(user=CLICKHOUSE_READER, password=reader),
        )
        self.register_outputs({})

    def _keeper(self, args: ClickHouseArgs) -> pulumi.Resource | None:
        """Coordinates replicated tables; only networks of the stack reach it."""
        if args.keeper_image is None:
            return None
        return service(
            KEEPER,
            ServiceArgs(
                names=args.names,
                image=args.keeper_image,
                network=args.network,
                memory=memory(KEEPER, args.names.settings.resource_scale),
                files=[File(path="/etc/clickhouse-keeper/keeper_config.xml", content=keeper_config(port=KEEPER_PORT))],
                volumes={"data": "/var/lib/clickhouse"},
                health=["CMD", "/bin/bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{KEEPER_PORT}"],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _password(self, name: str) -> pulumi.Output[str]:
        return random.RandomPassword(name, length=32, special=False, opts=pulumi.ResourceOptions(parent=self)).result


def _users(limits: Memory, passwords: list[str]) -> str:
    admin, operator, reader = passwords
    return users_config(limits, admin_password=admin, operator_password=operator, reader_password=reader)
