"""Certificate authorities as files: clients want a path, Pulumi and Secrets hold the text."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any


def ca_file(pem: str) -> str:
    """Path of a file that holds the certificate ``pem``; the same text has the same file, made when it is missing."""
    digest = hashlib.sha256(pem.encode()).hexdigest()
    path = Path(tempfile.gettempdir()) / f"cdc-ca-{digest[:32]}.pem"
    if not path.is_file() or path.read_text() != pem:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(pem)
        Path(file.name).replace(path)
    return str(path)


def verified_postgres(ca: str) -> dict[str, Any]:
    """Options of psycopg that verify certificate and name against ``ca``, PEM; none without one."""
    return {"sslmode": "verify-full", "sslrootcert": ca_file(ca)} if ca else {}


def verified_clickhouse(ca: str) -> dict[str, Any]:
    """Options of clickhouse-driver that verify certificate and name against ``ca``, PEM; none without one."""
    return {"secure": True, "verify": True, "ca_certs": ca_file(ca)} if ca else {}
