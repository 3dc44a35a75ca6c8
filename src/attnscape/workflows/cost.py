"""The duration of a run: an estimate after the first steps, then the progress."""

from __future__ import annotations

import time
from collections.abc import Callable

from attnscape.report.numbers import duration

_WORTH_SAYING = 15.0  # seconds; shorter runs end before anybody has read the estimate
_MEASURED = 1.0  # seconds of steps that an estimate is based on
_AGAIN = 60.0  # seconds between lines


class Cost:
    """Logs duration and progress; call it with (run-steps done, all run-steps), first with 0 done.

    Args:
        log: Called with the estimated duration, and later with the progress.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, log: Callable[[str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._say, self._clock = log, clock
        self._start: tuple[float, int] | None = None  # excludes compilation
        self._said: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Logs a line if one is due."""
        now = self._clock()
        if done == 0:
            return
        if self._start is None:
            self._start = (now, done)
            return
        seconds, steps = now - self._start[0], done - self._start[1]
        if seconds < _MEASURED or steps == 0 or done == total:
            return
        left = (total - done) * seconds / steps
        if self._said is None:
            if seconds + left < _WORTH_SAYING:
                return
            speed = f"{steps / seconds:,.0f} run-steps a second"
            self._say(f"takes about {duration(seconds + left)}, at {speed}")
        elif now - self._said < _AGAIN:
            return
        else:
            self._say(f"is at {100 * done / total:.0f} %, about {duration(left)} left")
        self._said = now
