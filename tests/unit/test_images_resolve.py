"""Pull or build: with a registry on this machine, and an engine that only remembers what it was asked."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import images, images_plan, images_registry, recipes_build
from toolchain.images import Folders, ImageError, ensure_images
from toolchain.recipes import RecipeError
from toolchain.recipes_build import Builder
from toolchain.recipes_run import CommandError


@dataclass
class Engine:
    """Stands in for the Docker engine."""

    present: dict[str, int] = field(default_factory=dict)
    pulled: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    pull_error: str = ""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    fake = Engine()

    def pull(reference: str, **_: object) -> None:
        if fake.pull_error:
            raise CommandError(fake.pull_error)
        fake.pulled.append(reference)
        fake.present[reference] = 1000

    def build(builder: Builder, part: str) -> str:
        tag = images_plan.candidate(builder.images, part, builder.versions).tag
        assert tag is not None
        fake.built.append(part)
        fake.present[tag] = 500
        return tag

    monkeypatch.setattr(
        recipes_build, "image_sizes", lambda names: {n: fake.present[n] for n in names if n in fake.present}
    )
    monkeypatch.setattr(recipes_build, "build_part", build)
    monkeypatch.setattr(images_registry, "pull", pull)
    monkeypatch.setattr(images_registry, "engine_mirrors", list)
    monkeypatch.setenv("CDC_CACHE", str(tmp_path / "cache"))
    return fake


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    root = tmp_path / "images"
    for part, recipe in {
        "base": '[debootstrap]\nsuite = "bookworm"\n',
        "db": 'base = "base"\nversion = "postgres"\n',
        "own": 'base = "base"\n',
    }.items():
        (root / part).mkdir(parents=True)
        (root / part / "recipe.toml").write_text(recipe)
        (root / part / "Dockerfile").write_text("FROM x\n")
    return Folders(images=root, local=tmp_path / ".local")


class _Registry(http.server.BaseHTTPRequestHandler):
    status = 401
    api = "registry/2.0"

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.api:
            self.send_header("Docker-Distribution-Api-Version", self.api)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Registry", (_Registry,), {}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy_page() -> Iterator[str]:
    handler = type("Page", (_Registry,), {"status": 200, "api": ""})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hanging() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def upstream(monkeypatch: pytest.MonkeyPatch, references: Mapping[str, str]) -> None:
    monkeypatch.setattr(images_plan, "UPSTREAM_IMAGES", references)
    monkeypatch.setattr(images, "UPSTREAM_IMAGES", references)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_auto_pulls_where_a_registry_answers(
    engine: Engine, folders: Folders, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": f"{registry}/db:{{version}}", "web": f"{registry}/web:1"})
    result = ensure_images("auto", {"db": "7"}, print, folders=folders)
    assert result["db"] == {
        "reference": f"{registry}/db:7",
        "source": "pulled",
        "version": "7",
        "requested": "7",
        "size": 1000,
    }
    assert result["web"]["source"] == "pulled"
    assert (result["own"]["source"], engine.built) == ("built", ["own"])
    assert json.loads((folders.local / "images.json").read_text()) == result


def test_auto_builds_where_the_registry_hangs_and_says_what_is_left_out(
    engine: Engine, folders: Folders, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": f"{hanging}/db:1", "grafana": f"{hanging}/grafana:1"})
    lines: list[str] = []
    started = time.monotonic()
    result = ensure_images("auto", {"postgres": "16.3"}, lines.append, folders=folders, probe_seconds=0.5)
    assert time.monotonic() - started < 3
    assert (result["db"]["source"], result["db"]["version"]) == ("built", "16.3")
    assert "grafana" not in result
    assert any(line.startswith("WARNING: grafana is left out") for line in lines)
    assert engine.pulled == []


def test_what_is_left_out_is_recorded_as_absent_and_had_once_a_registry_answers(
    engine: Engine, folders: Folders, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"grafana": f"{closed_port()}/grafana:1"})
    lines: list[str] = []
    assert ensure_images("auto", {}, lines.append, parts=["grafana"], folders=folders, probe_seconds=0.3) == {}
    assert json.loads((folders.local / "images.json").read_text()) == {"grafana": {"source": "absent"}}
    assert any("WARNING: grafana is left out" in line for line in lines)
    upstream(monkeypatch, {"grafana": f"{registry}/grafana:1"})
    found = ensure_images("auto", {}, lines.append, parts=["grafana"], folders=folders)
    assert found["grafana"]["source"] == "pulled"


def test_a_proxy_page_and_a_closed_port_are_no_registry(registry: str, proxy_page: str) -> None:
    closed = closed_port()
    assert images_registry.answering([registry, proxy_page, closed], seconds=3) == {registry}


def test_all_registries_are_asked_at_once(hanging: str, registry: str) -> None:
    started = time.monotonic()
    found = images_registry.answering([hanging, hanging.replace("127.0.0.1", "localhost"), registry], seconds=1.0)
    assert found == {registry}
    assert time.monotonic() - started < 1.8


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("postgres:16", "docker.io"),
        ("apache/kafka:4.3.1", "docker.io"),
        ("quay.io/debezium/connect:3", "quay.io"),
        ("localhost:5000/x", "localhost:5000"),
        ("localhost/x", "localhost"),
    ],
)
def test_registry_host(reference: str, host: str) -> None:
    assert images_registry.registry_host(reference) == host


def test_the_engines_mirrors_count_for_docker_hub() -> None:
    assert images_registry.probe_urls("docker.io", ["http://mirror.local/"])[0] == "http://mirror.local/v2/"
    assert images_registry.probe_urls("quay.io", ["http://mirror.local/"]) == ["https://quay.io/v2/"]


def test_auto_builds_when_the_pull_fails(
    engine: Engine, folders: Folders, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": f"{registry}/db:1"})
    engine.pull_error = "db: docker pull: toomanyrequests"
    lines: list[str] = []
    assert ensure_images("auto", {}, lines.append, folders=folders)["db"]["source"] == "built"
    assert any("toomanyrequests; building it instead" in line for line in lines)


def test_pull_mode_fails_with_the_image_named(
    engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": "registry.invalid/db:1"})
    engine.pull_error = "db: docker pull registry.invalid/db:1: no route; set images: build"
    with pytest.raises(ImageError, match=r"registry\.invalid/db:1.*images: build"):
        ensure_images("pull", {}, print, folders=folders)
    assert engine.built == []
    assert not (folders.local / "images.json").exists()


def test_build_mode_never_asks_a_registry(engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream(monkeypatch, {"db": "registry.invalid/db:1", "grafana": "registry.invalid/grafana:1"})
    monkeypatch.setattr(images_registry, "answering", lambda *_, **__: pytest.fail("asked a registry"))
    result = ensure_images("build", {}, print, folders=folders)
    assert {part: entry["source"] for part, entry in result.items()} == {"db": "built", "own": "built"}


def test_nothing_is_done_when_the_tags_exist(engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream(monkeypatch, {"db": "registry.invalid/db:1"})
    first = ensure_images("build", {}, print, folders=folders)
    engine.built.clear()
    monkeypatch.setattr(images_registry, "answering", lambda *_, **__: pytest.fail("asked a registry"))
    assert ensure_images("auto", {}, print, folders=folders) == first
    assert (engine.built, engine.pulled) == ([], [])


def test_a_part_stays_built_when_a_registry_appears(
    engine: Engine, folders: Folders, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": f"{registry}/db:1"})
    ensure_images("build", {}, print, folders=folders)
    (folders.images / "db" / "Dockerfile").write_text("FROM y\n")
    assert ensure_images("auto", {}, print, folders=folders)["db"]["source"] == "built"
    assert ensure_images("pull", {}, print, folders=folders)["db"]["source"] == "pulled"


def test_a_pulled_part_that_must_be_built_warns_about_its_volume(
    engine: Engine, folders: Folders, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {"db": f"{registry}/db:1"})
    ensure_images("auto", {}, print, folders=folders)
    engine.present.clear()
    upstream(monkeypatch, {"db": f"{closed_port()}/db:1"})
    lines: list[str] = []
    assert ensure_images("auto", {}, lines.append, folders=folders)["db"]["source"] == "built"
    assert any(line.startswith("WARNING: db was pulled before") and "volume" in line for line in lines)


@pytest.mark.parametrize(
    ("mode", "parts", "message"),
    [
        ("fetch", None, "'fetch' is not one of auto, pull, build"),
        ("build", ["oracle"], "unknown image part oracle; known parts: .*db"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_done(
    engine: Engine, folders: Folders, mode: str, parts: list[str] | None, message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        ensure_images(mode, {}, print, parts=parts, folders=folders)
    assert (engine.built, engine.pulled) == ([], [])


def test_one_part_alone_keeps_the_other_entries(
    engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {})
    ensure_images("build", {}, print, folders=folders)
    ensure_images("build", {"postgres": "16.3"}, print, parts=["db"], folders=folders)
    saved = json.loads((folders.local / "images.json").read_text())
    assert (saved["db"]["version"], saved["own"]["source"]) == ("16.3", "built")


def test_a_broken_result_file_is_made_again(engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream(monkeypatch, {})
    folders.local.mkdir()
    (folders.local / "images.json").write_text('{"db": {"refer')
    assert ensure_images("auto", {}, print, folders=folders)["db"]["source"] == "built"
    assert "db" in json.loads((folders.local / "images.json").read_text())


def test_missing_tools_are_named_with_their_packages(
    engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {})
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert images.host_requirements("build", folders=folders) == {"debootstrap": "debootstrap"}
    with pytest.raises(ImageError, match=r"building image db needs debootstrap.*apt-get install .*debootstrap"):
        ensure_images("build", {}, print, folders=folders)


def test_where_all_is_pulled_our_own_image_needs_no_tools() -> None:
    """A host that pulls may be none that can make a Debian root file system."""
    assert images.host_requirements("pull") == {}


def test_no_tools_are_needed_when_nothing_is_built(
    engine: Engine, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream(monkeypatch, {})
    ensure_images("build", {}, print, folders=folders)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/docker" if name == "docker" else None)
    assert images.host_requirements("build", folders=folders) == {}


def test_a_disk_nearly_full_is_named_before_building(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: Folders
) -> None:
    monkeypatch.setenv("CDC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(recipes_build, "image_sizes", lambda _: {})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**8))
    builder = Builder(images=folders.images, logs=tmp_path, versions={}, log=print)
    with pytest.raises(RecipeError, match=r"image base: 0\.1 GB free below .*docker system df.*CDC_CACHE"):
        recipes_build.build_part(builder, "own")


def test_leftovers_of_an_interrupted_build_are_removed(engine: Engine, folders: Folders, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "work" / "base-x" / "root"
    left.mkdir(parents=True)
    ensure_images("build", {}, print, parts=["own"], folders=folders)
    assert not left.exists()
