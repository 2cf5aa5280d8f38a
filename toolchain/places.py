"""Where things are: the clone's ignored ``.local`` folder and the cache that clones share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of one clone and the shared cache."""

    root: Path
    cache: Path

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Places:
        """The places for this environment: CDC_CACHE, else XDG_CACHE_HOME/cdc-pipeline, else ~/.cache/cdc-pipeline."""
        if explicit := environ.get("CDC_CACHE"):
            return cls(root=root, cache=Path(explicit).expanduser().absolute())
        home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".cache")
        return cls(root=root, cache=Path(home) / "cdc-pipeline")

    @property
    def local(self) -> Path:
        """State and settings of this clone, ignored by git."""
        return self.root / ".local"

    @property
    def logs(self) -> Path:
        """Output of long commands."""
        return self.local / "logs"

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.local / "state"

    @property
    def passphrase(self) -> Path:
        """File that encrypts the secrets in the state."""
        return self.local / "passphrase"

    @property
    def record(self) -> Path:
        """What ``ensure`` settled on; ``env`` reads it."""
        return self.local / "toolchain.json"

    @property
    def pulumi_home(self) -> Path:
        """PULUMI_HOME unless the user has logged in to a backend of their own."""
        return self.cache / "pulumi-home"

    @property
    def venv_bin(self) -> Path:
        """Programs of the project's Python environment."""
        return self.local / "venv" / "bin"
