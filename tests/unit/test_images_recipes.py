"""Recipes: reading, hashing, locks and the placing of artifacts."""

import ast
import io
import lzma
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from components import versions
from toolchain import images, recipes, recipes_fetch
from toolchain.recipes import Fetch, RecipeError
from toolchain.recipes_fetch import ChecksumError
from toolchain.recipes_run import CommandError

REAL = images.REPOSITORY / "images"


def write_part(root: Path, part: str, recipe: str, dockerfile: str = "ARG BASE\nFROM ${BASE}\n") -> Path:
    folder = root / part
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe)
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "repo" / "images"
    write_part(root, "base", '[debootstrap]\nsuite = "bookworm"\n')
    write_part(
        root,
        "db",
        'base = "base"\nversion = "postgres"\n'
        '[[maven]]\ninto = "."\nroots = ["g:a:{postgres}.0"]\nlock = "maven.lock"\n',
    )
    return root


def hash_of(root: Path, part: str, **values: str) -> str:
    return recipes.content_hash(root, recipes.load(root, part, values), values)


def test_hash_is_the_same_in_another_folder(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "images"
    shutil.copytree(tree, other)
    (other / "db" / "Dockerfile").touch()
    assert hash_of(tree, "db") == hash_of(other, "db")


def test_hash_ignores_versions_that_the_part_does_not_use(tree: Path) -> None:
    assert hash_of(tree, "db") == hash_of(tree, "db", kafka="9.9.9")
    assert hash_of(tree, "db") != hash_of(tree, "db", postgres="16.3")


@pytest.mark.parametrize("change", ["edit", "add", "mode", "base"])
def test_hash_changes_with_every_input(tree: Path, change: str) -> None:
    before = hash_of(tree, "db")
    if change == "edit":
        (tree / "db" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN true\n")
    elif change == "add":
        (tree / "db" / "new.sh").write_text("")
    elif change == "mode":
        (tree / "db" / "Dockerfile").chmod(0o755)
    else:
        (tree / "base" / "Dockerfile").write_text("FROM scratch\n")
    assert hash_of(tree, "db") != before


def test_hash_ignores_documentation_and_caches(tree: Path) -> None:
    before = hash_of(tree, "db")
    (tree / "db" / "README.md").write_text("words")
    (tree / "db" / "__pycache__").mkdir()
    (tree / "db" / "__pycache__" / "x.pyc").write_bytes(b"\0")
    assert hash_of(tree, "db") == before


def test_hash_covers_files_of_the_repository(tree: Path) -> None:
    shared = tree.parent / "cdc"
    shared.mkdir()
    (shared / "a.py").write_text("1")
    write_part(tree, "ops", 'base = "base"\n[[files]]\nfrom = "cdc"\ninto = "cdc"\n')
    before = hash_of(tree, "ops")
    (shared / "a.py").write_text("2")
    assert hash_of(tree, "ops") != before


def test_unknown_part_names_the_known_ones(tree: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe for image part 'nope'.*known parts: base, db"):
        recipes.load(tree, "nope", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "base"\nspeed = 1\n', "unknown key speed"),
        ('base = "base"\nversion = "oracle"\n', "'oracle'.*versions are: .*postgres"),
        ('base = "base"\n[[maven]]\ninto="."\nroots=["g:a:{oracle}"]\nlock="l"\n', "'oracle'"),
        (
            'base = "base"\n[[maven]]\ninto="."\nroots=["g:a:1"]\nlock="l"\nsha="x"\n',
            r"\[\[maven\]\] has unknown key sha",
        ),
        ('version = "postgres"\n', 'give either base = "<part>" or a'),
        ("base = \n", "recipe.toml: "),
    ],
)
def test_a_wrong_recipe_is_refused_with_its_file(tree: Path, text: str, message: str) -> None:
    write_part(tree, "bad", text)
    with pytest.raises(RecipeError, match=message) as caught:
        recipes.load(tree, "bad", {})
    assert "images/bad/recipe.toml" in str(caught.value)


def test_bases_in_a_circle_are_refused(tree: Path) -> None:
    write_part(tree, "one", 'base = "two"\n')
    write_part(tree, "two", 'base = "one"\n')
    with pytest.raises(RecipeError, match="circle"):
        recipes.chain(tree, "one", {})


@pytest.mark.parametrize("part", ["postgres", "kafka", "kafka-connect", "operations"])
def test_default_versions_are_pinned(part: str) -> None:
    for group in recipes.load(REAL, part, {}).fetches:
        pinned = recipes_fetch.read_lock(group.lock, group.roots)
        assert pinned, f"{part}: {group.roots} have no section in {group.lock}"
        assert all(len(digest) == 64 for digest in pinned.values())


@pytest.mark.parametrize(
    ("part", "name", "value"), [("postgres", "postgres", "16.3"), ("kafka-connect", "debezium", "2.6.0.Final")]
)
def test_selectable_versions_are_pinned_too(part: str, name: str, value: str) -> None:
    (group,) = recipes.load(REAL, part, {name: value}).fetches
    assert recipes_fetch.read_lock(group.lock, group.roots)


def test_a_pulled_base_takes_the_place_of_the_built_one_and_changes_the_hash(tree: Path) -> None:
    write_part(tree, "ops", 'base = "base"\npulled_base = "debian:12"\n')
    pulled = {"bases": "pulled"}
    assert [recipe.part for recipe in recipes.chain(tree, "ops", {})] == ["base", "ops"]
    assert [recipe.part for recipe in recipes.chain(tree, "ops", pulled)] == ["ops"]
    assert hash_of(tree, "ops") != hash_of(tree, "ops", **pulled)
    assert hash_of(tree, "db") == hash_of(tree, "db", **pulled)


def test_a_go_program_is_pinned_and_changes_the_hash(tree: Path) -> None:
    module = tree.parent / "toolchain" / "go" / "tool"
    module.mkdir(parents=True)
    (module / "go.sum").write_text("a")
    write_part(tree, "tool", 'base = "base"\n[[go]]\nmodule = "tool"\npackage = "example.org/tool"\nprogram = "tool"\n')
    before = hash_of(tree, "tool")
    (module / "go.sum").write_text("b")
    assert hash_of(tree, "tool") != before


def test_the_postgres_exporter_is_built_in_the_version_that_is_pulled() -> None:
    (program,) = recipes.load(REAL, "postgres-exporter", {}).programs
    pinned = (program.module / "go.mod").read_text()
    assert f"github.com/prometheus-community/postgres_exporter v{versions.POSTGRES_EXPORTER}" in pinned


def test_our_programs_run_with_the_libraries_they_are_tested_with() -> None:
    (group,) = recipes.load(REAL, "operations", {}).fetches
    ours = (REAL.parent / "requirements.txt").read_text().lower().split()
    named = {line.split("==")[0].split("[")[0]: line.split("==")[1] for line in ours if "==" in line}
    for root in group.roots:
        name, version = root.split("==")
        assert named.get(name, version) == version, root


def test_everything_that_our_programs_import_is_in_their_image() -> None:
    (group,) = recipes.load(REAL, "operations", {}).fetches
    there = {root.split("==")[0].replace("-", "_") for root in group.roots} | {"cdc"} | set(sys.stdlib_module_names)
    for path in sorted((REAL.parent / "cdc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            lacking = {name.split(".")[0] for name in named} - there
            assert not lacking, f"{path}: add {lacking} to images/operations/recipe.toml"


def test_kafka_libraries_are_of_the_pinned_version() -> None:
    libraries = recipes.load(REAL, "kafka", {}).fetches[0]
    pinned = recipes_fetch.read_lock(libraries.lock, libraries.roots) or {}
    assert f"kafka-clients-{versions.KAFKA}.jar" in pinned
    assert any(name.startswith("log4j-slf4j-impl-") for name in pinned), "without it the broker logs nothing"


def group(folder: Path, **more: str) -> Fetch:
    (folder / "maven.lock").touch()
    return Fetch(kind="maven", into="libs", roots=("g:a:1",), lock=folder / "maven.lock", **more)  # type: ignore[arg-type]


@pytest.fixture
def fake_registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    served = {"a-1.jar": b"good"}
    calls: list[str] = []

    def deliver(wanted: Fetch, target: Path, *_: object) -> None:
        calls.append(wanted.roots[0])
        served["calls"] = str(len(calls)).encode()
        for name, content in served.items():
            if name != "calls":
                (target / name).write_bytes(content)

    monkeypatch.setattr(recipes_fetch, "_fetch_maven", deliver)
    return served


def run_fetch(tmp_path: Path, wanted: Fetch, lines: list[str]) -> list[Path]:
    return recipes_fetch.fetch(wanted, cache=tmp_path / "cache", log=lines.append, log_file=tmp_path / "log")


def test_fetch_uses_the_cache_the_second_time(tmp_path: Path, fake_registry: dict[str, bytes]) -> None:
    wanted, lines = group(tmp_path), list[str]()
    first = run_fetch(tmp_path, wanted, lines)
    assert run_fetch(tmp_path, wanted, lines) == first
    assert fake_registry["calls"] == b"1"
    assert any("trusted on first use" in line for line in lines)
    assert any(recipes_fetch.sha256(first[0]) in line for line in lines)


def test_a_pinned_artifact_that_differs_is_refused_and_not_cached(
    tmp_path: Path, fake_registry: dict[str, bytes]
) -> None:
    wanted = group(tmp_path)
    good = tmp_path / "good"
    good.write_bytes(b"good")
    wanted.lock.write_text(recipes_fetch.lock_section(wanted.roots, {"a-1.jar": recipes_fetch.sha256(good)}))
    fake_registry["a-1.jar"] = b"evil"
    with pytest.raises(ChecksumError, match=r"a-1\.jar of g:a:1 is not the pinned artifact .*check the mirror"):
        run_fetch(tmp_path, wanted, [])
    fake_registry["a-1.jar"] = b"good"
    assert [file.read_bytes() for file in run_fetch(tmp_path, wanted, [])] == [b"good"]


def test_an_artifact_too_many_is_refused(tmp_path: Path, fake_registry: dict[str, bytes]) -> None:
    wanted = group(tmp_path)
    run_fetch(tmp_path, wanted, [])
    sums = {"a-1.jar": recipes_fetch.sha256(next((tmp_path / "cache").rglob("a-1.jar")))}
    wanted.lock.write_text(recipes_fetch.lock_section(wanted.roots, sums))
    shutil.rmtree(tmp_path / "cache")
    fake_registry["b-1.jar"] = b"stowaway"
    with pytest.raises(ChecksumError, match=r"b-1\.jar .*expected none: not in the lock"):
        run_fetch(tmp_path, wanted, [])


def test_a_damaged_cache_is_refused_with_the_folder(tmp_path: Path, fake_registry: dict[str, bytes]) -> None:
    (file,) = run_fetch(tmp_path, group(tmp_path), [])
    file.write_bytes(b"bit rot")
    with pytest.raises(ChecksumError, match=r"no longer holds.*delete the folder") as caught:
        run_fetch(tmp_path, group(tmp_path), [])
    assert str(file.parent) in str(caught.value)


def test_a_fetch_that_dies_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: Fetch, target: Path, *__: object) -> None:
        (target / "half.jar").write_bytes(b"ha")
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes_fetch, "_fetch_maven", die)
    with pytest.raises(KeyboardInterrupt):
        run_fetch(tmp_path, group(tmp_path), [])
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == []


@pytest.fixture
def fake_maven(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """Commands that ran; each entry's second half is the error that was served for it."""
    ran: list[tuple[list[str], str]] = []
    answers: list[str] = []

    def run(command: list[str], **_: object) -> None:
        error = answers.pop(0) if answers else ""
        ran.append((command, error))
        if error:
            raise CommandError(error)
        target = next(word.partition("=")[2] for word in command if word.startswith("-DoutputDirectory="))
        (Path(target) / "a-1.jar").write_bytes(b"good")

    monkeypatch.setattr(recipes_fetch, "run_logged", run)
    monkeypatch.setattr(recipes_fetch, "RETRY_SECONDS", 0)
    ran.append((answers, "the errors to serve"))
    return ran


def test_a_broken_connection_is_tried_once_more(tmp_path: Path, fake_maven: list[tuple[list[str], str]]) -> None:
    answers = fake_maven.pop()[0]
    answers += ["mvn: Connection reset"]
    assert [file.name for file in run_fetch(tmp_path, group(tmp_path), [])] == ["a-1.jar"]
    assert len(fake_maven) == 2
    assert all("--strict-checksums" in command for command, _ in fake_maven)


def test_a_version_that_does_not_exist_is_not_tried_again(
    tmp_path: Path, fake_maven: list[tuple[list[str], str]]
) -> None:
    fake_maven.pop()[0].append("mvn: Could not find artifact g:a:1")
    with pytest.raises(CommandError, match="Could not find artifact g:a:1"):
        run_fetch(tmp_path, group(tmp_path), [])
    assert len(fake_maven) == 1


def test_an_artifact_without_published_checksum_is_taken_with_a_warning(
    tmp_path: Path, fake_maven: list[tuple[list[str], str]]
) -> None:
    fake_maven.pop()[0].append("mvn: Checksum validation failed, no checksums available")
    lines: list[str] = []
    run_fetch(tmp_path, group(tmp_path), lines)
    assert any(line.startswith("WARNING: the registry has no checksum for g:a:1") for line in lines)
    assert ["--strict-checksums" in command for command, _ in fake_maven] == [True, False]


def test_a_published_checksum_that_differs_is_final(tmp_path: Path, fake_maven: list[tuple[list[str], str]]) -> None:
    fake_maven.pop()[0].extend(["mvn: Checksum validation failed, expected 1 but is 2"] * 2)
    with pytest.raises(CommandError, match="Checksum validation failed"):
        run_fetch(tmp_path, group(tmp_path), [])
    assert all("--strict-checksums" in command for command, _ in fake_maven)


def test_lock_sections_do_not_mix(tmp_path: Path) -> None:
    lock = tmp_path / "maven.lock"
    lock.write_text(
        recipes_fetch.lock_section(("g:a:1",), {"a-1.jar": "1" * 64})
        + "\n"
        + recipes_fetch.lock_section(("g:a:2",), {"a-2.jar": "2" * 64})
    )
    assert recipes_fetch.read_lock(lock, ("g:a:1",)) == {"a-1.jar": "1" * 64}
    assert recipes_fetch.read_lock(lock, ("g:a:2",)) == {"a-2.jar": "2" * 64}
    assert recipes_fetch.read_lock(lock, ("g:a:3",)) is None
    assert recipes_fetch.read_lock(tmp_path / "absent", ("g:a:1",)) is None


def test_place_unpacks_the_member_of_a_jar(tmp_path: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("bin/postgres"))
    jar = tmp_path / "a.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("inner.txz", lzma.compress(plain.getvalue()))
    recipes_fetch.place(group(tmp_path, member="inner.txz", rename="postgres.tar"), [jar], tmp_path / "context")
    assert (tmp_path / "context" / "libs" / "postgres.tar").read_bytes() == plain.getvalue()


def test_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CDC_CACHE", raising=False)
    assert recipes_fetch.cache_root() == tmp_path / "cdc-pipeline"
    monkeypatch.setenv("CDC_CACHE", "/elsewhere")
    assert recipes_fetch.cache_root() == Path("/elsewhere")
