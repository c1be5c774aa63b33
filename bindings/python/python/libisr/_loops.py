"""Which event loop runs the async callbacks of a cache."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

Loop: TypeAlias = asyncio.AbstractEventLoop

_tasks: set[asyncio.Task[None]] = set()
"""Running callbacks: a loop itself holds its tasks weakly."""


def settle(event_loop: Loop, future: asyncio.Future[Any], value: object, error: BaseException | None) -> None:
    """Gives a future its outcome, from any thread. The native half calls this."""
    # A loop that is closed has nobody who waits.
    with contextlib.suppress(RuntimeError):
        event_loop.call_soon_threadsafe(_settle, future, value, error)


def _settle(future: asyncio.Future[Any], value: object, error: BaseException | None) -> None:
    if future.done():
        return  # The await was cancelled.
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _spawn(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.get_running_loop().create_task(start())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


class Loops:
    """The loops that a cache has seen, and one of its own where there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Loop]] = {}
        self._last: weakref.ref[Loop] | None = None
        self._own: _LoopThread | None = None
        self._closed = False

    @contextlib.contextmanager
    def waiting(self, path: str) -> Iterator[Loop]:
        """Marks the running loop as one that waits for a page."""
        loop = self.seen()
        with self._lock:
            self._waiting.setdefault(path, []).append(loop)
        try:
            yield loop
        finally:
            with self._lock:
                loops = self._waiting[path]
                loops.remove(loop)
                if not loops:
                    del self._waiting[path]

    def seen(self) -> Loop:
        """The running loop, remembered for background work."""
        loop = asyncio.get_running_loop()
        own = self._own
        if own is None or loop is not own.loop:
            self._last = weakref.ref(loop)
        return loop

    def run(
        self,
        start: Callable[[], Coroutine[Any, Any, None]],
        path: str | None = None,
        first: Loop | None = None,
    ) -> None:
        """Runs a coroutine on `first`, a loop that waits for `path`, the last one seen, or the cache's own."""
        with self._lock:
            candidates = [first, *self._waiting.get(path or "", ()), self._last and self._last()]
        for loop in candidates:
            if loop is not None and loop.is_running():
                if asyncio._get_running_loop() is loop:
                    return _spawn(start)
                # It may have been closed in the meantime.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_spawn, start)
                    return None
        self._own_loop().call_soon_threadsafe(_spawn, start)
        return None

    def _own_loop(self) -> Loop:
        with self._lock:
            if self._closed:
                raise RuntimeError("the cache is closed")
            if self._own is None:
                self._own = _LoopThread()
            return self._own.loop

    def close(self, timeout: float) -> None:
        """Ends the cache's own loop; what still runs there is cancelled."""
        with self._lock:
            self._closed = True
            own, self._own = self._own, None
        if own is not None:
            own.stop(timeout)


class _LoopThread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stop = asyncio.Event()
        self.loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="libisr-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        async def until_stopped() -> None:
            await self._stop.wait()

        with self._runner:
            self._runner.run(until_stopped())

    def stop(self, timeout: float) -> None:
        # A second stop finds the loop closed.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
