"""Wakes asyncio tasks when the engine has put out something for them, without a thread for each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

import krserve_native as native


class Notifier:
    """One thread for all generations of an engine; it starts with the first."""

    def __init__(self) -> None:
        self.bell = native.Bell()
        self._tokens = count(1)
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, callback: Callable[[], object]) -> int:
        """The token that the bell is to be rung with; `callback` runs on the thread."""
        token = next(self._tokens)
        with self._lock:
            self._callbacks[token] = callback
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="krserve-notifier", daemon=True
                )
                self._thread.start()
        return token

    def remove(self, token: int) -> None:
        with self._lock:
            self._callbacks.pop(token, None)

    def close(self) -> None:
        self.bell.close()

    def _run(self) -> None:
        while (tokens := self.bell.wait()) is not None:
            for token in tokens:
                with self._lock:
                    callback = self._callbacks.get(token)
                if callback is not None:
                    callback()
