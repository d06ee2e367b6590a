"""Cancels a blocking stream that says nothing any more."""

from __future__ import annotations

import threading
import time
from typing import Any


class Watchdog:
    """A thread that cancels a call while its reader has waited longer than `silence_seconds`. The time that the reader
    takes for a message is not silence.
    """

    def __init__(self, silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._waiting_since: float | None = time.monotonic()
        self._over = threading.Event()
        self.has_bitten = False

    def watch(self, call: Any) -> None:
        """Begins."""
        threading.Thread(target=self._run, args=(call,), name="sigil-watchdog", daemon=True).start()

    def waiting(self) -> None:
        """The reader waits."""
        self._waiting_since = time.monotonic()

    def heard(self) -> None:
        """A message came."""
        self._waiting_since = None

    def end(self) -> None:
        """The stream is over."""
        self._over.set()

    def _run(self, call: Any) -> None:
        while not self._over.wait(self._silence_seconds / 10):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._silence_seconds:
                self.has_bitten = True
                call.cancel()
                return
