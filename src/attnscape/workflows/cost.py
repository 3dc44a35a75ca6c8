"""The duration of a run: an estimate after the first steps, then the progress."""

from __future__ import annotations

import time
from collections.abc import Callable

from attnscape.report.numbers import duration

_WORTH_SAYING = 15.0  # seconds; shorter runs end before anybody has read the estimate
_MEASURED = 1.0  # seconds of steps that an estimate is based on
_FASTER = 1.5  # times; a speed that grows by more may still grow
_AGAIN = 60.0  # seconds between lines


class Cost:
    """Logs duration and progress; call it with (run-steps done, all run-steps), first with 0 done.

    Programs that are compiled between the first steps make these look slow. So the speed is
    measured again while it grows by half or more, and from the first step on where a part of the
    work begins, which is when the same number is done as before.

    Args:
        log: Called with the estimated duration, and later with the progress.
        clock: Returns the time in seconds.
        unit: What is counted; empty if it is nothing that has a name.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
        unit: str = "run-steps",
    ) -> None:
        self._say, self._clock, self._unit = log, clock, unit
        self._begin: float | None = None  # excludes what is compiled before the first step
        self._done = 0
        # Where the measurement of the speed starts, time and run-steps; None until a step is made.
        self._since: tuple[float, int] | None = None
        self._speed = 0.0  # as measured before
        self._said: float | None = None

    def __call__(self, done: int, total: int) -> None:
        """Logs a line if one is due."""
        now = self._clock()
        if done == self._done:  # at the beginning, or before a part that is compiled first
            self._since = None
            return
        self._done = done
        if self._begin is None or self._since is None:
            self._begin, self._since = self._begin or now, (now, done)
            return
        seconds, steps = now - self._since[0], done - self._since[1]
        if seconds < _MEASURED or steps == 0 or done == total:
            return
        speed = steps / seconds
        if self._said is not None:
            if now - self._said >= _AGAIN:
                self._say(
                    f"is at {100 * done / total:.0f} %, "
                    f"about {duration((total - done) / speed)} left"
                )
                self._said, self._since = now, (now, done)  # runs of other kinds have other speeds
            return
        before, self._since, self._speed = self._speed, (now, done), speed
        whole = now - self._begin + (total - done) / speed
        if speed < _FASTER * before and whole >= _WORTH_SAYING:
            at = f", at {speed:,.0f} {self._unit} a second" if self._unit else ""
            self._say(f"takes about {duration(whole)}{at}")
            self._said = now
