"""What a run costs: said as soon as some of its steps were measured, and then how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from attnscape.report.numbers import duration

_WORTH_SAYING = 15.0  # seconds that a run must take; shorter ones are over before it is read
_MEASURED = 1.0  # seconds of steps that an estimate rests on
_AGAIN = 60.0  # seconds between lines


class Cost:
    """To be called with (run-steps done, run-steps in all), first before any is done.

    Args:
        say: Called with words on how long it takes, and later on how far it is.
        clock: Seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._say, self._clock = say, clock
        self._start: tuple[float, int] | None = None  # after what was compiled
        self._said: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Says something if it is time to."""
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
