"""The callbacks in progress: which are held, and which work."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import libisr

Gate: TypeAlias = Literal["render", "load"]

takes_no_place: contextvars.ContextVar[bool] = contextvars.ContextVar("takes_no_place", default=False)
"""Whether a load that runs here takes no thread of the pool: it is inside another callback, or the runner's own."""


@dataclass
class Info:
    gate: Gate
    key: str
    cancelled: Callable[[], bool]
    takes_place: bool
    doing: Literal["works", "asks", "held"] = "works"


@dataclass(frozen=True)
class Sample:
    """What the callbacks do at one moment."""

    version: int
    working: int
    held: int
    """Blocked by a hold, and the cache still waits for them."""
    places: int

    def is_quiet(self, activity: libisr.Activity, threads: int) -> bool:
        """Whether nothing goes on by itself any more."""
        return (
            self.working == 0
            and activity.running == activity.waiting + self.held
            and (activity.queued == 0 or self.places >= threads)
        )


class Frames:
    """All callbacks of one scenario."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ids = itertools.count()
        self._version = 0
        self._frames: dict[int, Info] = {}
        self._held: set[tuple[Gate, str]] = set()
        self._async: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._ended = False

    @contextlib.contextmanager
    def enter(self, gate: Gate, key: str, cancelled: Callable[[], bool]) -> Iterator[Frame]:
        """One callback, from its begin to its end."""
        info = Info(gate, key, cancelled, not takes_no_place.get())
        token = takes_no_place.set(True)
        number = next(self._ids)
        with self._changed:
            self._version += 1
            self._frames[number] = info
        try:
            yield Frame(self, info)
        finally:
            takes_no_place.reset(token)
            with self._changed:
                self._version += 1
                del self._frames[number]

    def hold(self, gate: Gate, key: str) -> None:
        with self._changed:
            self._held.add((gate, key))

    def release(self, gate: Gate, key: str) -> None:
        with self._changed:
            self._held.discard((gate, key))
            self._wake()

    def end(self) -> None:
        """Lets go of everything, for good."""
        with self._changed:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        self._version += 1
        self._changed.notify_all()
        for loop, event in self._async:
            loop.call_soon_threadsafe(event.set)
        self._async.clear()

    def is_held(self, info: Info) -> bool:
        return not self._ended and (info.gate, info.key) in self._held

    def sample(self) -> Sample:
        with self._changed:
            infos = [(info, info.cancelled()) for info in self._frames.values()]
            held = [info.doing == "held" and self.is_held(info) for info, _ in infos]
            return Sample(
                self._version,
                # One that was released a moment ago works, although its thread still sleeps.
                sum(info.doing != "asks" and not h for (info, _), h in zip(infos, held, strict=True)),
                sum(h and not cancelled for (_, cancelled), h in zip(infos, held, strict=True)),
                sum(info.takes_place and not cancelled for info, cancelled in infos),
            )

    def describe(self) -> str:
        """The callbacks in progress, for a message."""
        with self._changed:
            return ", ".join(f"{i.gate} {i.key} {i.doing}" for i in self._frames.values()) or "no callback"


class Frame:
    """One callback in progress."""

    def __init__(self, frames: Frames, info: Info) -> None:
        self._frames = frames
        self._info = info

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Around a call of the cache, which may wait or run another callback."""
        self._set("asks")
        try:
            yield
        finally:
            self._set("works")

    def hold(self) -> None:
        """Blocks while this callback's key is held."""
        changed = self._frames._changed
        with changed:
            if self._frames.is_held(self._info):
                self._change("held")
                changed.wait_for(lambda: not self._frames.is_held(self._info))
                self._change("works")

    async def ahold(self) -> None:
        """The same on an event loop."""
        while True:
            with self._frames._changed:
                if not self._frames.is_held(self._info):
                    return self._change("works")
                self._change("held")
                event = asyncio.Event()
                self._frames._async.append((asyncio.get_running_loop(), event))
            await event.wait()

    def _set(self, doing: Literal["works", "asks", "held"]) -> None:
        with self._frames._changed:
            self._change(doing)

    def _change(self, doing: Literal["works", "asks", "held"]) -> None:
        self._frames._version += 1
        self._info.doing = doing
