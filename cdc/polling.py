"""Ask one part of the pipeline again and again on a thread of its own; readers get the last answer at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger("exporter")
MOST_BUSY = 19.0
"""Sparing: a pause lasts at least so many times the poll before it, which is a twentieth of the time at most."""
SHORTEST_SECONDS = 0.1
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, kw_only=True)
class Sample(Generic[ValueT]):
    """An answer and when it came, in monotonic seconds."""

    value: ValueT
    at: float


class Poller(Generic[ValueT]):
    """Calls ``probe`` every ``every`` seconds; whatever it raises counts as: this part can't be asked.

    An answer older than ``stale`` seconds counts as none: a probe that hangs must not keep its part up. A ``sparing``
    poller asks a slow probe less often.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], ValueT],
        *,
        every: float,
        stale: float,
        sparing: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._probe = probe
        self._every = every
        self._stale = stale
        self._sparing = sparing
        self._clock = clock
        self._failed = False
        self._told: str | None = None
        self._pause = 0.0
        self.last: Sample[ValueT] | None = None
        """The last answer, however old."""

    def poll(self) -> None:
        """Ask once."""
        try:
            value = self._probe()
        except Exception as error:
            self._failed = True
            self._tell(f"can't be asked: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}")
            return
        self.last = Sample(value=value, at=self._clock())
        self._failed = False
        self._tell("answers")

    def fresh(self) -> ValueT | None:
        """The last answer, None when the part can't be asked now."""
        return self.last.value if self.last is not None and self.answers() else None

    def answers(self) -> bool:
        """Whether the part can be asked now."""
        last = self.last
        limit = self._stale + max(0.0, self._pause - self._every)
        return not self._failed and last is not None and self._clock() - last.at <= limit

    def run(self, stop: threading.Event) -> None:
        """Ask until ``stop`` is set."""
        while not stop.is_set():
            started = self._clock()
            self.poll()
            stop.wait(self.pause(self._clock() - started))

    def pause(self, took: float) -> float:
        """Seconds until the next poll, after one that ``took`` so long; who is away is asked at the usual pace."""
        spared = MOST_BUSY * took if self._sparing and not self._failed else 0.0
        self._pause = max(self._every - took, spared, SHORTEST_SECONDS)
        return self._pause

    def _tell(self, state: str) -> None:
        """One line a change, not one a poll."""
        if state != self._told:
            log.info("%s %s", self.name, state)
            self._told = state
