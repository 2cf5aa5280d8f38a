"""Configuration of the project's own stacks, for tests of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = "cdc"
SECRETS = {"backupAccessKey": "password-of-access-key", "backupSecretKey": "password-of-secret-key"}
"""What nobody commits; the marker ``password-of-`` lets tests find it wherever it goes."""


def stack_config(stack: str) -> dict[str, Any]:
    """Configuration of the stack's real file, without the project's prefix."""
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text()) or {}
    return {key.removeprefix(f"{PROJECT}:"): value for key, value in (document.get("config") or {}).items()}


def prod_config() -> dict[str, Any]:
    """The prod stack's file, with the secrets that only its operator has."""
    return {**stack_config("prod"), **SECRETS}
