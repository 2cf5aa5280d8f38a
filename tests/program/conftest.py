"""Program tests see the images of a host where no registry answered, whatever this host has."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from components.configs.images import part_versions
from components.settings import Settings
from components.versions import OPTIONAL_PARTS


@pytest.fixture(scope="session", autouse=True)
def _images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    settings = Settings.from_mapping({})
    record = {
        part: {"source": "absent"}
        if part in OPTIONAL_PARTS
        else {"reference": f"cdc/{part}:0", "source": "built", "version": version, "requested": version}
        for part, version in part_versions(settings).items()
    }
    path = tmp_path_factory.mktemp("images") / "images.json"
    path.write_text(json.dumps(record))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.configs.images.RECORD", path)
        yield
