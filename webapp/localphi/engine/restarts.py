"""When a worker that has died is started again."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_S = 60.0
MAX_DEATHS = 3  # within the window; then the model is left alone for a while
_DELAYS_S = (0.0, 1.0)  # after the first death and after the second
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


class Restarts:
    """Counts the deaths of one model's workers.

    Once it has died too often, the next request after a pause tries again; each further death at once makes
    the next pause twice as long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deaths_s: list[float] = []
        self._pauses = 0
        self._again_s = 0.0

    @property
    def pause_s(self) -> float:
        """How long the model is still left alone, 0 when it may be started."""
        return max(0.0, self._again_s - self._clock())

    def died(self) -> float | None:
        """Seconds to wait before the next start; None when it has died too often for that."""
        now_s = self._clock()
        self._deaths_s = [death_s for death_s in self._deaths_s if now_s - death_s < WINDOW_S]
        if not self._deaths_s and now_s - self._again_s >= WINDOW_S:
            self._pauses = 0
        self._deaths_s.append(now_s)
        if len(self._deaths_s) < MAX_DEATHS and not self._pauses:
            return _DELAYS_S[len(self._deaths_s) - 1]
        self._again_s = now_s + min(_FIRST_PAUSE_S * 2**self._pauses, _LONGEST_PAUSE_S)
        self._pauses += 1
        return None
