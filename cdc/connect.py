"""Kafka Connect's REST API: configure, watch and work one connector. Every call has a timeout and an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import requests

from cdc.connect_failures import explain
from cdc.trust import ca_file
from cdc.waiting import Deadline

CALL_TIMEOUT = 15.0
VALIDATE_TIMEOUT = 60.0
"""Validation opens a database connection, and a dead address takes long to fail."""
POLL_SECONDS = 0.5
STABLE_POLLS = 3
"""RUNNING counts when seen this often in a row: a task reports RUNNING before it has connected to its database."""
PROGRESS_SECONDS = 10.0
NOT_FOUND_TRIES = 2
"""A worker that starts answers 404 for everything, then for connectors whose topic it has not read to the end."""
MOVING_SECONDS = 45.0
"""How long a running connector may take to store its first new offset."""
Action = Literal["pause", "resume", "stop"]


class ConnectError(Exception):
    """Kafka Connect refused or failed; the text names the connector, the reason and, where known, the cure."""


class ConnectUnreachableError(ConnectError):
    """Kafka Connect gave no usable answer before the deadline."""


class NoConnectorError(ConnectError):
    """The connector does not exist."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """States as Connect reports them: RUNNING, PAUSED, STOPPED, FAILED, UNASSIGNED, RESTARTING."""

    connector: str
    tasks: tuple[str, ...]
    kind: str = "source"
    trace: str = field(default="", repr=False)

    @property
    def running(self) -> bool:
        """The connector and all of its tasks run, and there is at least one task."""
        return self.connector == "RUNNING" and bool(self.tasks) and set(self.tasks) == {"RUNNING"}

    @property
    def failed(self) -> bool:
        """The connector or a task gave up."""
        return "FAILED" in (self.connector, *self.tasks)

    def __str__(self) -> str:
        tasks = ", ".join(f"task {number} {state}" for number, state in enumerate(self.tasks)) or "no task yet"
        return f"{self.connector} ({tasks})"


class ConnectClient:
    """One Connect cluster at ``url``; ``deadline`` bounds everything that this client does.

    ``ca`` is the authority, PEM, that an https address is verified against; empty: the system's.
    """

    def __init__(self, url: str, deadline: Deadline, *, ca: str = "") -> None:
        self.url = url.rstrip("/")
        self._deadline = deadline
        self._session = requests.Session()
        # A proxy from the environment would take requests for 127.0.0.1 away from the published port.
        self._session.trust_env = False
        self._session.verify = ca_file(ca) if ca else True

    def validate(self, config: Mapping[str, str]) -> None:
        """Let Connect and the plugin check a configuration; raises ConnectError that lists every finding."""
        plugin = config["connector.class"]
        body = self._call(
            "PUT",
            f"/connector-plugins/{quote(plugin)}/config/validate",
            json=dict(config),
            timeout=VALIDATE_TIMEOUT,
            missing=f"the plugin {plugin} is not installed: use a Connect image that has it in plugin.path",
        )
        values = [entry["value"] for entry in body.get("configs", [])]
        errors = [f"  {value['name']}: {error}" for value in values for error in value.get("errors", [])]
        if errors:
            raise ConnectError(f"{config.get('name')}: the configuration is refused:\n" + "\n".join(errors))

    def put_config(self, name: str, config: Mapping[str, str]) -> None:
        """Create the connector or replace its configuration: the same call, so that it can be repeated."""
        self._call("PUT", f"{_path(name)}/config", json=dict(config))

    def config(self, name: str) -> dict[str, str]:
        """The connector's live configuration without its ``name``; raises NoConnectorError."""
        body = self._call("GET", f"{_path(name)}/config", missing=f"{name} does not exist")
        return {key: str(value) for key, value in body.items() if key != "name"}

    def status(self, name: str) -> Status:
        """States and the first trace; raises NoConnectorError."""
        body = self._call("GET", f"{_path(name)}/status", missing=f"{name} does not exist")
        tasks = sorted(body["tasks"], key=lambda task: int(task["id"]))
        traces = [part["trace"] for part in (body["connector"], *tasks) if part.get("trace")]
        return Status(
            connector=body["connector"]["state"],
            tasks=tuple(task["state"] for task in tasks),
            kind=body.get("type") or "source",
            trace=traces[0] if traces else "",
        )

    def act(self, name: str, action: Action) -> None:
        """Pause, resume or stop; Connect answers before it is done, so wait for the state where it matters."""
        self._call("PUT", f"{_path(name)}/{action}", missing=f"{name} does not exist")

    def restart(self, name: str, *, only_failed: bool = False) -> None:
        """Restart the connector and its tasks, or those of them that failed."""
        query = f"includeTasks=true&onlyFailed={str(only_failed).lower()}"
        self._call("POST", f"{_path(name)}/restart?{query}", missing=f"{name} does not exist")

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """Stored source offsets, each with ``partition`` and ``offset``; raises NoConnectorError."""
        body = self._call("GET", f"{_path(name)}/offsets", missing=f"{name} does not exist")
        return list(body.get("offsets", []))

    def set_offset(self, name: str, partition: Mapping[str, Any], offset: Mapping[str, Any]) -> None:
        """Overwrite a stored offset; Connect allows it only while the connector is STOPPED."""
        body = {"offsets": [{"partition": dict(partition), "offset": dict(offset)}]}
        self._call("PATCH", f"{_path(name)}/offsets", json=body, missing=f"{name} does not exist")

    def names(self) -> list[str]:
        """Names of all connectors."""
        return sorted(self._call("GET", "/connectors"))

    def delete(self, name: str) -> bool:
        """Delete the connector; False when it was gone already. Its stored offsets stay."""
        try:
            self._call("DELETE", _path(name), missing=f"{name} does not exist")
        except NoConnectorError:
            return False
        return True

    def ensure(self, name: str, config: Mapping[str, str]) -> Status:
        """Bring the connector to ``config`` and RUNNING; validates first, resumes a paused one, restarts what failed
        once. Raises ConnectError with the task's trace when it fails for good."""
        full = {**config, "name": name}
        self.validate(full)
        self.put_config(name, full)
        status = self.wait_running(name)
        if not self.moves(name, config, MOVING_SECONDS):
            raise ConnectError(
                f"connector {name} is RUNNING but has read nothing for {MOVING_SECONDS:.0f} s: it retries. "
                "The log of kafka-connect has the reason. If it says that the publication does not exist though it "
                "does, the publication was dropped and made again while the slot waited: follow the playbook "
                "`slot lost` (drop the slot, snapshot again)."
            )
        return status

    def moves(self, name: str, config: Mapping[str, str], seconds: float) -> bool:
        """Whether the stored offset moves within ``seconds``, which the heartbeat makes it do all the time. A task
        says RUNNING while it retries for ever; only this shows that it reads. True where no
        heartbeat could tell in time."""
        beats = 3 * int(config.get("heartbeat.interval.ms") or 0) / 1000
        if not 0 < beats < self._deadline.remaining:
            return True
        first, limit = self.offsets(name), Deadline(min(max(seconds, beats), self._deadline.remaining))
        while not limit.expired:
            limit.sleep(POLL_SECONDS)
            now = self.offsets(name)
            # A snapshot may read one table for hours without another offset.
            if now and (now != first or any("snapshot" in (entry.get("offset") or {}) for entry in now)):
                return True
        return False

    def wait_running(self, name: str) -> Status:
        """Poll until connector and tasks run and keep running. A failure is retried once by a restart."""
        stable, restarted, shown, shown_at = 0, False, "", self._deadline.remaining
        status: Status | None = None
        while stable < STABLE_POLLS:
            try:
                status = self.status(name)
            except NoConnectorError:
                # The worker may not have read the new configuration from its topic yet.
                status = None
            text = str(status or "not known to the worker yet")
            if text != shown or shown_at - self._deadline.remaining > PROGRESS_SECONDS:
                print(f"connector {name}: {text}", flush=True)
                shown, shown_at = text, self._deadline.remaining
            stable = stable + 1 if status and status.running else 0
            if status and status.failed:
                if restarted:
                    raise ConnectError(f"connector {name} is {status}.\n{explain(status.trace)}")
                restarted = True
                self.restart(name, only_failed=True)
                self._deadline.sleep(4 * POLL_SECONDS)
            elif status and status.connector in ("PAUSED", "STOPPED"):
                self.act(name, "resume")
            if self._deadline.expired:
                raise ConnectError(
                    f"connector {name} does not run after {self._deadline.seconds:.0f} s: {text}. "
                    "See the log of kafka-connect, or allow more time with timeoutSeconds."
                )
            self._deadline.sleep(POLL_SECONDS)
        if status is None:
            raise NoConnectorError(f"{name} does not exist")
        return status

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        timeout: float = CALL_TIMEOUT,
        missing: str | None = None,
    ) -> Any:  # noqa: ANN401 - whatever JSON Connect answers
        """One REST call. A worker that starts or rebalances is asked again until the deadline."""
        attempt, reason = 0, ""
        while True:
            try:
                answer = self._session.request(
                    method, self.url + path, json=json, timeout=max(1.0, min(timeout, self._deadline.remaining))
                )
            except (requests.ConnectionError, requests.Timeout) as error:
                reason = f"no answer ({type(error).__name__})"
            except requests.RequestException as error:
                raise ConnectError(f"{self._shown(method, path)}: {type(error).__name__}: {error}") from None
            else:
                if answer.ok:
                    return _body(answer)
                if answer.status_code == 404 and missing and attempt >= NOT_FOUND_TRIES and self._serves():
                    raise (NoConnectorError if path.startswith("/connectors/") else ConnectError)(missing)
                reason = f"HTTP {answer.status_code}: {_message(answer)}"
                if not (_momentary(answer) or (answer.status_code == 404 and missing)):
                    raise ConnectError(f"{self._shown(method, path)}: {reason}")
            if self._deadline.expired:
                raise ConnectUnreachableError(
                    f"{self._shown(method, path)} failed for {self._deadline.seconds:.0f} s, last: {reason}. "
                    "Check that Kafka Connect runs and that its port is published."
                )
            self._deadline.pause(attempt)
            attempt += 1

    def _serves(self) -> bool:
        """Whether the worker has all of its REST resources, so that a 404 is about the thing asked for."""
        try:
            return self._session.get(f"{self.url}/connector-plugins", timeout=CALL_TIMEOUT).ok
        except requests.RequestException:
            return False

    def _shown(self, method: str, path: str) -> str:
        parts = urlsplit(self.url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        return f"{method} {urlunsplit((parts.scheme, host, parts.path + path.split('?')[0], '', ''))}"


def _path(name: str) -> str:
    return f"/connectors/{quote(name, safe='')}"


def _body(answer: requests.Response) -> Any:  # noqa: ANN401
    return answer.json() if answer.content else {}


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])[:2000]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def _momentary(answer: requests.Response) -> bool:
    """Whether asking again helps: a rebalance (409), a worker that starts (503, or 500 `Request timed out`)."""
    return answer.status_code in (409, 502, 503, 504) or (
        answer.status_code == 500 and "timed out" in _message(answer).lower()
    )
