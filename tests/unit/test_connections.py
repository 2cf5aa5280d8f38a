"""What clients of the parts are given, from the stack's outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from cdc.connections import Connections, NoStackError

BOOTSTRAP = {"kafkaBootstrap": "127.0.0.1:1"}


def test_kafka_on_the_host_is_met_without_a_login() -> None:
    options = Connections(outputs=BOOTSTRAP).kafka
    assert options["bootstrap.servers"] == "127.0.0.1:1"
    assert not [key for key in options if key.startswith(("sasl", "ssl", "security"))]


def test_kafka_with_a_login_is_met_by_scram_over_tls(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    login = {"user": "kafka-operator", "passwordFile": str(password), "caFile": str(DEFAULT_CA_BUNDLE_PATH)}
    options = Connections(outputs={**BOOTSTRAP, "kafkaLogin": login}).kafka
    assert (options["sasl.username"], options["sasl.password"]) == ("kafka-operator", "secret")
    # The client library itself judges names, values and the authority's file.
    AdminClient(options)


def test_a_login_whose_files_are_elsewhere_is_named(tmp_path: Path) -> None:
    login = {"user": "kafka-operator", "passwordFile": str(tmp_path / "absent"), "caFile": ""}
    with pytest.raises(NoStackError, match=r"password can't be read: .*absent.*in its pods"):
        _ = Connections(outputs={**BOOTSTRAP, "kafkaLogin": login}).kafka
