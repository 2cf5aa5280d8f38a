"""An authority given as text is verified against, by certificate and name."""

from __future__ import annotations

from pathlib import Path

from cdc.trust import ca_file, verified_clickhouse, verified_postgres


def test_the_same_text_has_the_same_file_and_another_text_another() -> None:
    first = ca_file("one")
    assert Path(first).read_text() == "one"
    assert ca_file("one") == first
    assert ca_file("two") != first
    Path(first).unlink()
    assert Path(ca_file("one")).read_text() == "one"


def test_without_an_authority_nothing_is_asked_for() -> None:
    assert verified_postgres("") == verified_clickhouse("") == {}


def test_with_one_certificate_and_name_are_verified() -> None:
    assert verified_postgres("one") == {"sslmode": "verify-full", "sslrootcert": ca_file("one")}
    assert verified_clickhouse("one") == {"secure": True, "verify": True, "ca_certs": ca_file("one")}
