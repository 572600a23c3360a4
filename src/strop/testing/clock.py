"""A clock that moves only when told to, so that what measures time can be tested without waiting."""

from __future__ import annotations


class FakeClock:
    """A `strop.measure.clock.Clock` under the test's control: it advances when told, and when asked to sleep.

    start: the first reading, seconds; cost_per_reading: how far each reading moves it, like a real clock's own cost.

    Example:
        >>> clock = FakeClock()
        >>> clock.advance(1.5)
        >>> clock.now()
        1.5
    """

    def __init__(self, start: float = 0.0, *, cost_per_reading: float = 0.0):
        self.cost_per_reading = cost_per_reading
        self.slept = 0.0
        self._now = start
        self._own_cpu = 0.0
        self._other_cpu = 0.0
        self._spin_until = start

    def now(self) -> float:
        """Returns the time in seconds."""
        self._pass(self.cost_per_reading)
        return self._now

    def sleep(self, seconds: float) -> None:
        """Moves the clock without use of the processor by the calling thread."""
        if seconds > 0:
            self.slept += seconds
            self._pass(seconds)

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds of all threads: what was advanced, and what spinning threads used."""
        return self._own_cpu + self._other_cpu

    def own_cpu_seconds(self) -> float:
        """Returns the CPU seconds of the calling thread: what was advanced."""
        return self._own_cpu

    def ready_threads(self) -> int:
        """Returns 1 while another thread spins."""
        return int(self._now < self._spin_until)

    def advance(self, seconds: float) -> None:
        """Moves the clock as a busy calling thread does."""
        self._own_cpu += seconds
        self._pass(seconds)

    def spin(self, seconds: float) -> None:
        """Lets another thread use a whole core from now on for so many seconds, as thread pools do after a block."""
        self._spin_until = max(self._spin_until, self._now + seconds)

    def _pass(self, seconds: float) -> None:
        self._other_cpu += max(0.0, min(seconds, self._spin_until - self._now))
        self._now += seconds
