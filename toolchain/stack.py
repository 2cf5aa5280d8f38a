"""Bring one stack up, down, or preview it: what the Makefile's verbs run."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel

from components.names import STACK_LABEL
from components.settings import Settings
from toolchain.images import Folders, read_result, write_atomic
from toolchain.images_plan import ABSENT
from toolchain.processes import runs

CONTAINER: Final = "docker:index/container:Container"
VOLUME: Final = "docker:index/volume:Volume"
DOCKER_KINDS: Final = {CONTAINER: "container", "docker:index/network:Network": "network", VOLUME: "volume"}
RANDOM_KINDS: Final = ("random:index/randomPassword:RandomPassword", "random:index/randomId:RandomId")
"""What a volume needs to be gone on with: the passwords in it, the cluster's id."""
VOLUMES: Final = (
    *("postgres-source-data", "kafka-data", "clickhouse-data"),
    *("prometheus-data", "alertmanager-data", "grafana-data"),
)
KEEP_VARIABLE: Final = "CDC_KEEP_DATA"
"""Tells the providers that a delete is only a pause: slot and publication stay."""


class StackError(Exception):
    """The stack can't be worked; the message names the thing and the cure."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of the project in ``root``; ``environment`` is what Pulumi runs with."""

    name: str
    root: Path
    environment: Mapping[str, str]
    log: Callable[[str], None] = print

    @property
    def file(self) -> Path:
        """The stack's configuration file."""
        return self.root / f"Pulumi.{self.name}.yaml"

    def settings(self) -> Settings:
        """The stack's settings, checked before anything is started."""
        return Settings.from_stack_file(self.file)

    def up(self) -> None:
        """Deploy; a run that was killed half-way is mended first."""
        self._select()
        self._mend()
        on_docker = self.settings().platform == "docker"
        if on_docker:
            self.check_ports()
            self.check_volumes()
        arguments = [
            "up",
            "--stack",
            self.name,
            "--yes",
            "--skip-preview",
            "--non-interactive",
            "--suppress-outputs",
            "--suppress-progress",
        ]
        if on_docker and (down := self._containers_down()):
            self.log(f"not running: {', '.join(down)}; looking at everything anew")
            arguments.append("--refresh")
        self._pulumi(*arguments)

    def preview(self) -> None:
        """Show what ``up`` would do."""
        self._select()
        self._pulumi("preview", "--stack", self.name, "--non-interactive", "--suppress-outputs", "--suppress-progress")

    def down(self, *, keep_data: bool = False) -> None:
        """Remove all that ``up`` made; with ``keep_data`` volumes and passwords stay for the next ``up``."""
        if not self.exists():
            self.log(f"stack {self.name} does not exist: nothing to remove")
            return
        self._select()
        self._mend()
        arguments = [
            "destroy",
            "--stack",
            self.name,
            "--yes",
            "--skip-preview",
            "--non-interactive",
            "--suppress-progress",
        ]
        if keep_data:
            for kind in (VOLUME, *RANDOM_KINDS):
                arguments += ["--exclude", f"**{kind}**"]
            self._pulumi(*arguments, extra={KEEP_VARIABLE: "1"})
            self.log("volumes and passwords are kept; `make up` goes on with them")
            return
        self._pulumi("state", "unprotect", "--all", "--yes", "--stack", self.name, capture=True)
        self._pulumi(*arguments)
        self._pulumi("stack", "rm", self.name, "--yes", "--preserve-config", capture=True)
        self._forget_salt()

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        text = self._pulumi("stack", "output", "--json", "--show-secrets", "--stack", self.name, capture=True)
        outputs: dict[str, Any] = json.loads(text)
        return outputs

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        known = json.loads(self._pulumi("stack", "ls", "--json", capture=True) or "[]")
        return self.name in {entry["name"].split("/")[-1] for entry in known}

    def running(self) -> bool:
        """Whether the stack was brought up and all its containers run."""
        if not self.exists():
            return False
        return bool(self._recorded(CONTAINER)) and not self._containers_down()

    def check_ports(self) -> None:
        """Raise StackError when a port that the stack publishes is taken by something else."""
        ours = self._published_ports()
        unused = self._ports_of_absent_parts()
        taken = [
            f"  - port {port} is in use{_owner(port)}; stop that, or `pulumi config set {key} <free port>`"
            for key, port in self.settings().ports.items()
            if key not in unused and port not in ours and not _free(port)
        ]
        if taken:
            raise StackError("\n".join(["ports on 127.0.0.1 that the stack needs:", *taken]))

    def check_volumes(self) -> None:
        """Raise StackError when Docker holds a volume of a name that is to be made: it may be somebody's data.

        Docker would hand it over without a word, and `down` would delete it.
        """
        prefix, recorded = self.settings().name_prefix, set(self._recorded(VOLUME))
        names = {f"{prefix}{name}" for name in VOLUMES}
        found = set(self._docker("volume", "ls", "--format", "{{.Name}}").split())
        if foreign := sorted((names & found) - recorded):
            raise StackError(
                f"Docker has volumes that this stack did not make: {', '.join(foreign)}; if nobody needs them, "
                f"`docker volume rm {' '.join(foreign)}`, else give this stack names of its own: "
                "`pulumi config set namePrefix <name>-`"
            )

    def _containers_down(self) -> list[str]:
        """Containers that the state holds and that do not run."""
        running = set(self._docker("ps", "--format", "{{.Names}}").split())
        return sorted(set(self._recorded(CONTAINER)) - running)

    def _recorded(self, kind: str) -> list[str]:
        """Names of the state's resources of a kind."""
        deployment = json.loads(self._pulumi("stack", "export", "--stack", self.name, capture=True))["deployment"]
        resources = deployment.get("resources") or []
        return [str(each["inputs"]["name"]) for each in resources if each["type"] == kind]

    def _published_ports(self) -> set[int]:
        listing = self._docker("ps", "--filter", f"label={STACK_LABEL}={self.name}", "--format", "{{.Ports}}")
        parts = [part for part in listing.replace(",", " ").split() if "->" in part and part.startswith("127.0.0.1:")]
        return {int(part.split("->")[0].rsplit(":", 1)[1]) for part in parts}

    def _ports_of_absent_parts(self) -> set[str]:
        """Settings of ports that nothing will listen on: the part's image could not be had the last time."""
        record = read_result(Folders(local=self.root / ".local"))
        absent = [part for part, entry in record.items() if entry.get("source") == ABSENT]
        return {f"{to_camel(part.replace('-', '_'))}Port" for part in absent}

    def _select(self) -> None:
        self.settings()
        self._unlock()
        if not self.exists():
            self._forget_salt()
        self._pulumi("stack", "select", "--create", self.name, capture=True)

    def _forget_salt(self) -> None:
        """Take Pulumi's salt out of the stack's file: it belongs to the passphrase of a stack that is not there.

        It stays where the file holds encrypted values, which need it.
        """
        text = self.file.read_text()
        kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("encryptionsalt:"))
        if kept != text and "secure:" not in text:
            write_atomic(self.file, kept)

    def _unlock(self) -> None:
        """Take away the lock of a run that died. Raises StackError when the run that holds it is alive.

        Refusing here and not later matters: mending takes away what an unfinished run has begun.
        """
        for lock in (self.root / ".local" / "state" / ".pulumi" / "locks").glob(f"**/{self.name}/*.json"):
            pid, hostname, since = _holder(lock)
            if hostname not in ("", socket.gethostname()) or runs(pid, "pulumi"):
                raise StackError(
                    f"another run works on stack {self.name} (pid {pid} on {hostname}, since {since}); wait for it, or "
                    f"end it and run this again; if it is gone for good: `pulumi cancel --yes --stack {self.name}`"
                )
            self.log(f"removing the lock of a run that died (pid {pid})")
            lock.unlink()

    def _mend(self) -> None:
        """After a killed run: remove what was begun and not recorded, so that it can be made anew.

        Containers and networks hold no data, and a volume whose making was not recorded has not been used.
        """
        state = json.loads(self._pulumi("stack", "export", "--stack", self.name, capture=True))
        deployment = state["deployment"]
        pending = deployment.get("pending_operations") or []
        if not pending:
            return
        self.log(f"the last run was interrupted in the middle of {len(pending)} operation(s); mending")
        recorded = {resource.get("id") for resource in deployment.get("resources", [])}
        for operation in pending:
            resource = operation["resource"]
            kind = DOCKER_KINDS.get(resource["type"])
            if operation["type"] == "creating" and kind:
                self._remove_unrecorded(kind, str(resource["inputs"]["name"]), recorded)
        deployment["pending_operations"] = []
        self._pulumi("stack", "import", "--stack", self.name, capture=True, stdin=json.dumps(state))

    def _remove_unrecorded(self, kind: str, name: str, recorded: set[str | None]) -> None:
        # Asking by exact name: `ls --filter name=` would match parts of names. Without our label it is not ours.
        labels = ".Config.Labels" if kind == "container" else ".Labels"
        key = ".Name" if kind == "volume" else ".Id"
        form = f'{{{{{key}}}}} {{{{with {labels}}}}}{{{{index . "{STACK_LABEL}"}}}}{{{{end}}}}'
        found, _, owner = self._docker(kind, "inspect", "--format", form, name, check=False).strip().partition(" ")
        if found and found not in recorded and owner == self.name:
            self.log(f"removing {kind} {name}, begun by the interrupted run")
            self._docker(kind, "rm", *(["--force"] if kind == "container" else []), found)

    def _docker(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", *arguments], env=dict(self.environment), capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise StackError(f"docker {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout if done.returncode == 0 else ""

    def _pulumi(
        self, *arguments: str, capture: bool = False, stdin: str | None = None, extra: Mapping[str, str] | None = None
    ) -> str:
        done = subprocess.run(
            ["pulumi", *arguments],
            cwd=self.root,
            env={**self.environment, **(extra or {})},
            capture_output=capture,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode:
            shown = f":\n{done.stderr.strip()}" if capture else "; see above"
            raise StackError(f"pulumi {arguments[0]} failed for stack {self.name}{shown}")
        return done.stdout or ""


def _holder(lock: Path) -> tuple[int, str, str]:
    """Process, machine and time that Pulumi wrote into a lock; zeros and blanks for a lock cut off while written."""
    try:
        written = json.loads(lock.read_text())
        return int(written["pid"]), str(written["hostname"]), str(written.get("timestamp", "?"))
    except (ValueError, KeyError, TypeError):
        return 0, "", "?"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _owner(port: int) -> str:
    """`` by <process>`` where it can be found out."""
    try:
        listing = subprocess.run(
            ["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False, timeout=5
        ).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    if 'users:(("' not in listing:
        return ""
    name, pid = listing.split('users:(("', 1)[1].split('",pid=')
    return f" by {name} (pid {pid.split(',')[0]})"
