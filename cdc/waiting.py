"""Waiting with a limit: a monotonic deadline and pauses that grow, so that no loop here can run for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable


class Deadline:
    """A point in monotonic time, ``seconds`` from now; wall-clock jumps don't move it."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end - self._clock())

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return self.remaining <= 0

    def pause(self, attempt: int, *, first: float = 0.25, most: float = 5.0) -> None:
        """Sleep before try number ``attempt`` + 1: doubling from ``first`` to ``most`` seconds with jitter,
        and never past the deadline."""
        longest = min(most, first * 2 ** min(attempt, 16))
        # Jitter only spreads clients apart; it guards nothing, so the plain generator will do.
        self.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311

    def sleep(self, seconds: float) -> None:
        """Sleep ``seconds`` or until the deadline, whichever comes first."""
        self._sleep(min(seconds, self.remaining))
