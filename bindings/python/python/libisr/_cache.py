"""The cache."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import EllipsisType, TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from . import _libisr
from ._data import async_loader, decode, loader
from ._errors import InvalidPath, IsrError, NoRoute, StoreError
from ._libisr import Answer, ManualClock
from ._loops import Loops
from ._progress import Listener
from ._render import Callback, Route
from ._trouble import TroubleListener, tell
from ._types import (
    Activity,
    CacheOptions,
    DataAnswer,
    Key,
    Peek,
    PrerenderProgress,
    PrerenderReport,
    RouteOptions,
    Seconds,
)

T = TypeVar("T")
F = TypeVar("F", bound=Callback)

_open: weakref.WeakSet[Cache] = weakref.WeakSet()

EXIT_SECONDS = 1.0
"""How long the end of the interpreter waits for running renders, of all caches together."""


class Cache(_libisr._Cache):
    """A cache of rendered pages. Usable from any thread, and from event loops.

    Options are keywords, see `CacheOptions`; `clock` is a `ManualClock` in tests. `on_trouble` is told of trouble with
    the directory, once of each kind, on a thread of its own; memory goes on alone. What it raises is logged. Without it
    the logger `libisr` gets a warning. Threads start with the first render.
    Use it in a `with` or `async with`, or call `close`; the end of the interpreter closes what is left.
    """

    _listener: TroubleListener

    def __new__(
        cls,
        *,
        clock: ManualClock | None = None,
        on_trouble: Callable[[StoreError], object] | None = None,
        **options: Unpack[CacheOptions],
    ) -> Self:
        listener = TroubleListener(on_trouble)
        self = super().__new__(cls, clock=clock, on_trouble=functools.partial(tell, weakref.ref(listener)), **options)
        self._listener = listener
        return self

    def __init__(
        self,
        *,
        clock: ManualClock | None = None,
        on_trouble: Callable[[StoreError], object] | None = None,
        **options: Unpack[CacheOptions],
    ) -> None:
        # `__new__` has taken the options.
        self._routes: list[Route] = []
        self._loops = Loops()
        weakref.finalize(self, self._loops.close, EXIT_SECONDS).atexit = False
        _open.add(self)

    # Pages

    def page(self, pattern: str, *, deferred: bool = False, **options: Unpack[RouteOptions]) -> Callable[[F], F]:
        """Adds a page: decorates the function that renders it, `def` or `async def`, which stays as it is.

        The function takes a `Job` and gives the body (str or bytes) or a `Result`. What it raises is a failure. With
        `deferred` it gives None, and `job.complete` or `job.fail` is called later, from any thread.
        """

        if not isinstance(pattern, str):
            raise TypeError(
                f"write @cache.page(pattern): pattern must be a str; got {pattern!r} ({type(pattern).__name__})"
            )

        def add(callback: F) -> F:
            if not callable(callback):
                raise TypeError(f"a page must be a function of a job; got {callback!r}")
            route = Route(callback, self._loops, deferred)
            self._add_route(pattern, dict(options), functools.partial(_start, weakref.ref(route)))
            self._routes.append(route)
            if route.is_async:
                self._uses_loops()
            return callback

        return add

    async def aget(
        self,
        path: str,
        *,
        variant: Mapping[str, str] | None = None,
        draft: bool = False,
        prefetch: bool = False,
    ) -> Answer:
        """`get` for event loops: a stored page at once, else the loop goes on while it is rendered.

        Cancelling the await leaves the render alone.
        """
        if variant is None and draft is False and prefetch is False:
            answer = self.try_get(path)
        else:
            answer = self.try_get(path, variant=variant, draft=draft, prefetch=prefetch)
        return await self._aget(path, variant, draft, prefetch) if answer is None else answer

    async def _aget(self, path: str, variant: Mapping[str, str] | None, draft: bool, prefetch: bool) -> Answer:
        """The rest of `aget`, where `try_get` had no answer."""
        with self._loops.waiting(_libisr.canonical_path(path)) as loop:
            value, future = self._get_then(loop, path, variant, draft, prefetch)
            waited: Answer = value if future is None else await future
        return waited

    @overload
    async def aregenerate(
        self, path: str, *, variant: Mapping[str, str] | None = ..., only_generated: Literal[False] = False
    ) -> Answer: ...
    @overload
    async def aregenerate(
        self, path: str, *, variant: Mapping[str, str] | None = ..., only_generated: bool
    ) -> Answer | None: ...
    async def aregenerate(
        self, path: str, *, variant: Mapping[str, str] | None = None, only_generated: bool = False
    ) -> Answer | None:
        """`regenerate` for event loops."""
        with self._loops.waiting(_libisr.canonical_path(path)) as loop:
            value, future = self._regenerate_then(loop, path, variant, only_generated)
            answer: Answer | None = value if future is None else await future
        return answer

    def peek(self, path: str, *, variant: Mapping[str, str] | None = None) -> Peek:
        """What is stored: state, page and age. Starts and touches nothing, never blocks."""
        return Peek(*self._peek(path, variant))

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            raise TypeError(f"path must be a str; got {path!r} ({type(path).__name__})")
        try:
            return self.peek(path).state != "missing"
        except (InvalidPath, NoRoute):
            return False

    # Prerender

    def prerender(self, progress: Callable[[PrerenderProgress], object] | None = None) -> PrerenderReport:
        """Renders every path that the pages' `static_params` list, and waits. Failed paths are in the report.

        `progress` is called from any thread, one call at a time. What it raises does not stop the prerender: the first
        exception is raised when all paths have ended.
        """
        listener = Listener(progress)
        report = PrerenderReport(*self._prerender(listener.tell))
        listener.check()
        return report

    async def aprerender(self, progress: Callable[[PrerenderProgress], object] | None = None) -> PrerenderReport:
        """`prerender` for event loops; `progress` is called on this loop."""
        listener = Listener(progress)
        loop = self._loops.seen()

        def tell(*values: Any) -> None:
            # A loop that has ended has nobody who listens.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(listener.tell, *values)

        value, future = self._prerender_then(loop, tell)
        if future is not None:
            value = await future
        # The last calls may be on their way.
        await asyncio.sleep(0)
        listener.check()
        return PrerenderReport(*value)

    # Data

    @overload
    def data(
        self,
        key: Key,
        load: Callable[[], T],
        *,
        tags: Iterable[str] = ...,
        revalidate: Seconds | EllipsisType = ...,
        raw: Literal[False] = False,
    ) -> T: ...
    @overload
    def data(
        self,
        key: Key,
        load: Callable[[], bytes | bytearray | memoryview],
        *,
        tags: Iterable[str] = ...,
        revalidate: Seconds | EllipsisType = ...,
        raw: Literal[True],
    ) -> bytes: ...
    def data(
        self,
        key: Key,
        load: Callable[[], Any],
        *,
        tags: Iterable[str] = (),
        revalidate: Seconds | EllipsisType = ...,
        raw: bool = False,
    ) -> Any:
        """Reads a data entry; `load` runs if it is missing, and in the background if it is stale."""
        return self.data_answer(key, load, tags=tags, revalidate=revalidate, raw=raw).value

    def data_answer(
        self,
        key: Key,
        load: Callable[[], Any],
        *,
        tags: Iterable[str] = (),
        revalidate: Seconds | EllipsisType = ...,
        raw: bool = False,
    ) -> DataAnswer:
        """`data`, and how the value came about."""
        value, word = self._data(key, tags, revalidate, loader(load, raw))
        return DataAnswer(decode(key, value, raw), word)

    @overload
    async def adata(
        self,
        key: Key,
        load: Callable[[], Awaitable[T]],
        *,
        tags: Iterable[str] = ...,
        revalidate: Seconds | EllipsisType = ...,
        raw: Literal[False] = False,
    ) -> T: ...
    @overload
    async def adata(
        self,
        key: Key,
        load: Callable[[], Awaitable[bytes | bytearray | memoryview]],
        *,
        tags: Iterable[str] = ...,
        revalidate: Seconds | EllipsisType = ...,
        raw: Literal[True],
    ) -> bytes: ...
    async def adata(
        self,
        key: Key,
        load: Callable[[], Awaitable[Any]],
        *,
        tags: Iterable[str] = (),
        revalidate: Seconds | EllipsisType = ...,
        raw: bool = False,
    ) -> Any:
        """`data` for event loops: `load` is an `async def`."""
        return (await self.adata_answer(key, load, tags=tags, revalidate=revalidate, raw=raw)).value

    async def adata_answer(
        self,
        key: Key,
        load: Callable[[], Awaitable[Any]],
        *,
        tags: Iterable[str] = (),
        revalidate: Seconds | EllipsisType = ...,
        raw: bool = False,
    ) -> DataAnswer:
        """`adata`, and how the value came about."""
        loop = self._loops.seen()
        self._uses_loops()
        start = async_loader(load, raw, self._loops, loop)
        done, future = self._data_then(key, tags, revalidate, start, loop)
        value, word = done if future is None else await future
        return DataAnswer(decode(key, value, raw), word)

    # Life

    def activity(self) -> Activity:
        """What runs and waits at this moment."""
        return Activity(*self._activity())

    def close(self, timeout: Seconds = 5.0) -> bool:
        """Closes: later calls raise `Closed`, running renders may finish within `timeout`, the rest is given up.

        Whether all ended in time. Calling it again is harmless. Not from within a render.
        """
        ended = self._close(timeout)
        self._loops.close(EXIT_SECONDS)
        return ended

    async def aclose(self, timeout: Seconds = 5.0) -> bool:
        """`close` for event loops: async renders on this loop may finish meanwhile."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if self.closed:
            return "<libisr.Cache closed>"
        stats = self.stats()
        return f"<libisr.Cache entries={stats['entries_stored']} bytes={stats['bytes_stored']}>"


def _start(route: weakref.ref[Route], native: _libisr._RenderJob) -> None:
    """Begins a render. The core holds no strong reference to what a page's function refers to: no cycle past the GC."""
    target = route()
    if target is not None:
        target.start(native)


def _close_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for cache in list(_open):
        with contextlib.suppress(IsrError):
            cache.close(max(0.0, deadline - time.monotonic()))
    _libisr._interpreter_exits()


atexit.register(_close_all)


def _after_fork() -> None:
    """The core makes anew by itself what a child needs; here go the loops and what they run."""
    _libisr._after_fork_in_child()
    for cache in list(_open):
        cache._forget()
        cache._loops.after_fork()


os.register_at_fork(
    before=_libisr._before_fork,
    after_in_parent=_libisr._after_fork_in_parent,
    after_in_child=_after_fork,
)
_libisr._prepare()
