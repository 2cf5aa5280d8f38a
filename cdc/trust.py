"""Certificate authorities as files: clients want a path, Pulumi and Secrets hold the text."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path


def ca_file(pem: str) -> str:
    """Path of a file that holds the certificate ``pem``; the same text has the same file, made when it is missing."""
    digest = hashlib.sha256(pem.encode()).hexdigest()
    path = Path(tempfile.gettempdir()) / f"cdc-ca-{digest[:32]}.pem"
    if not path.is_file() or path.read_text() != pem:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(pem)
        Path(file.name).replace(path)
    return str(path)
