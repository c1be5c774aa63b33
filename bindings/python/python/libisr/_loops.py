"""Which event loop runs the async callbacks of a cache."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, TypeAlias

from ._libisr import _keep

Loop: TypeAlias = asyncio.AbstractEventLoop

MOVES = 2
"""How often a callback is begun again because its loop has ended; the last time it is on the cache's own."""

YEARS = 3e8
"""Seconds after which no loop runs any more."""


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


class Work(Protocol):
    """An async callback, and the job that it is to finish."""

    @property
    def path(self) -> str | None:
        """The page that it renders, if it is a render."""

    @property
    def over(self) -> bool:
        """Whether the job needs no result any more."""

    async def run(self) -> None:
        """Runs the callback and finishes the job; cancelled only if its task was cancelled from outside."""

    def fail(self, error: BaseException) -> None:
        """Fails the job, which may be over."""


def cancelled() -> bool:
    """Whether this task was cancelled from outside: so a loop that ends stops what runs on it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Loops:
    """The loops that a cache has seen, and one of its own where there is none."""

    def __init__(self) -> None:
        self._own: _LoopThread | None = None
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Loop]] = {}
        self._last: weakref.ref[Loop] | None = None

    def after_fork(self) -> None:
        """Forgets the parent's loops: none runs here, and a lock may be held by a thread that is not here."""
        own, self._own = self._own, None
        # Its end would take the parent's own loop from the selector that both share.
        _keep(own)
        self._begin()

    @contextlib.contextmanager
    def waiting(self, path: str) -> Iterator[Loop]:
        """Marks the running loop as one that waits for a page."""
        loop = self.seen()
        waiting = self._waiting
        with self._lock:
            waiting.setdefault(path, []).append(loop)
        try:
            yield loop
        finally:
            with self._lock:
                loops = waiting[path]
                loops.remove(loop)
                if not loops:
                    del waiting[path]

    def seen(self) -> Loop:
        """The running loop, remembered for background work."""
        loop = asyncio.get_running_loop()
        own = self._own
        if own is None or loop is not own.loop:
            self._last = weakref.ref(loop)
        return loop

    def run(self, work: Work, first: Loop | None = None) -> None:
        """Runs a callback on `first`, a loop that waits for its path, the last one seen, or the cache's own."""
        with self._lock:
            candidates = [first, *self._waiting.get(work.path or "", ()), self._last and self._last()]
        self._place(work, candidates, MOVES)

    def _place(self, work: Work, candidates: list[Loop | None], moves: int) -> None:
        for loop in candidates:
            if loop is not None and loop.is_running():
                given = _Given(self, work, moves)
                if asyncio._get_running_loop() is loop:
                    return given.spawn()
                # It may have been closed in the meantime.
                try:
                    loop.call_soon_threadsafe(given.spawn)
                except RuntimeError:
                    given.is_held = False
                else:
                    return None
        self._own_loop().call_soon_threadsafe(_Given(self, work, moves).spawn)
        return None

    def again(self, work: Work, moves: int, ended: Loop | None) -> None:
        """Others may wait for what a loop that ends has stopped: it is begun again elsewhere."""
        if work.over:
            return
        with self._lock:
            waiting: list[Loop | None] = [o for o in self._waiting.get(work.path or "", ()) if o is not ended]
        try:
            if moves == 0:
                raise RuntimeError("no loop is left to run it")
            self._place(work, waiting if moves > 1 else [], moves - 1)
        except RuntimeError as error:
            # The cache is closed, or the interpreter exits and starts no thread.
            failure = RuntimeError("the event loop that ran it has ended")
            failure.__cause__ = error
            work.fail(failure)

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


class _Given:
    """A callback that was given to a loop. Dropped before it has begun, it begins elsewhere."""

    def __init__(self, loops: Loops, work: Work, moves: int) -> None:
        self._process = os.getpid()
        self._loops = loops
        self._work = work
        self._moves = moves
        self.is_held = True

    def spawn(self) -> None:
        """Begins it, on the thread of the loop."""
        self.is_held = False
        loop = asyncio.get_running_loop()
        _Running.of(loop).add(loop.create_task(self._work.run()), self)

    def again(self, ended: Loop | None) -> None:
        self._loops.again(self._work, self._moves, ended)

    def __del__(self) -> None:
        if self.is_held and self._process == os.getpid():
            self.again(None)


class _Running:
    """The callbacks that run on a loop. A timer of the loop alone holds this: it is dropped when the loop closes."""

    _all: ClassVar[weakref.WeakKeyDictionary[Loop, weakref.ref[_Running]]] = weakref.WeakKeyDictionary()

    def __init__(self) -> None:
        self._process = os.getpid()
        # A loop itself holds its tasks weakly.
        self._given: dict[asyncio.Task[None], _Given] = {}

    @classmethod
    def of(cls, loop: Loop) -> _Running:
        """That of the running loop."""
        known = cls._all.get(loop)
        running = known() if known else None
        if running is None:
            running = cls()
            cls._all[loop] = weakref.ref(running)
            loop.call_later(YEARS, running._stay)
        return running

    def _stay(self) -> None: ...

    def add(self, task: asyncio.Task[None], given: _Given) -> None:
        self._given[task] = given
        task.add_done_callback(functools.partial(_Running._ended, weakref.ref(self)))

    @staticmethod
    def _ended(running: weakref.ref[_Running], task: asyncio.Task[None]) -> None:
        this = running()
        given = this._given.pop(task, None) if this else None
        if given and task.cancelled():
            given.again(task.get_loop())

    def __del__(self) -> None:
        if self._process != os.getpid():
            # The parent's, whose loop goes on there.
            return _keep(self._given)
        for task, given in self._given.items():
            # Nobody steps it any more; its clean-up comes before it begins elsewhere.
            task.get_coro().close()
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # As asyncio.gather does.
            given.again(task.get_loop())
        return None


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
