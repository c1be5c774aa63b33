"""Runs the callbacks of pages, and what they see: their job."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from ._data import async_loader, decode, loader
from ._errors import Finished
from ._libisr import Page, Result, _RenderJob, current
from ._loops import Loops, cancelled

if TYPE_CHECKING:
    from types import EllipsisType

    from ._types import Key, Reason, Seconds

T = TypeVar("T")

logger = logging.getLogger("libisr")

Body: TypeAlias = str | bytes | bytearray | memoryview | Result
"""What a render gives."""

Callback: TypeAlias = Callable[["Job"], Body | None] | Callable[["Job"], Awaitable[Body | None]]
"""Renders one page; gives None only where it finishes its job itself."""


class Job:
    """One render in progress: what its callback gets."""

    __slots__ = ("__weakref__", "_loops", "_native")

    def __init__(self, native: _RenderJob, loops: Loops) -> None:
        self._native = native
        self._loops = loops

    @property
    def path(self) -> str:
        """The canonical path."""
        return self._native.path

    @property
    def pattern(self) -> str:
        """The page's pattern, as it was given."""
        return self._native.pattern

    @property
    def params(self) -> dict[str, Any]:
        """The path's parameters, decoded: a str for each `[name]`, a list of str for a catch-all."""
        return self._native.params

    @property
    def variant(self) -> dict[str, Any]:
        """The variant asked for, listed query values included: str, or a list of str for a repeated query name."""
        return self._native.variant

    @property
    def reason(self) -> Reason:
        """Why this page is rendered."""
        return self._native.reason

    @property
    def previous(self) -> Page | None:
        """The stored page that the result may replace."""
        return self._native.previous

    @property
    def draft(self) -> bool:
        """Whether this is rendered live for one request and not stored."""
        return self._native.draft

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: it timed out, or the cache is closed."""
        return self._native.context.cancelled

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
        """Reads a data entry; `load` runs if it is missing or stale.

        The page gets the entry's tags, and at most its `revalidate` (default never).
        """
        value, _ = self._native.data(key, tags, revalidate, loader(load, raw))
        return decode(key, value, raw)

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
        """`data` for async renders: `load` is an `async def`."""
        loop = self._loops.seen()
        start = async_loader(load, raw, self._loops, loop)
        done, future = self._native.data_then(key, tags, revalidate, start, loop)
        value, _ = done if future is None else await future
        return decode(key, value, raw)

    def complete(self, result: Body) -> None:
        """Finishes a `deferred` render with a page, from any thread.

        Raises `Finished` if the render was over.
        """
        self._native.complete(result)

    def fail(self, error: BaseException | str) -> None:
        """Finishes a `deferred` render with a failure, from any thread.

        Raises `Finished` if the render was over.
        """
        self._native.fail(error)

    def __repr__(self) -> str:
        return f"<libisr.Job {self.path!r} {self.reason}>"


class Route:
    """A page's callback, and how it is run."""

    def __init__(self, callback: Callback, loops: Loops, deferred: bool) -> None:
        self._callback: Callable[[Job], Any] = callback
        self._loops = loops
        self._deferred = deferred
        self.is_async = is_async(callback)

    def start(self, native: _RenderJob) -> None:
        """Begins a render; called on a thread of the cache."""
        if self.is_async:
            self._loops.run(_Render(self, native))
        else:
            # The threads are shared: a render leaves nothing behind.
            contextvars.Context().run(self._render, native)

    def _render(self, native: _RenderJob) -> None:
        current.set(native.context)
        try:
            result = self._callback(Job(native, self._loops))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("a render returned a coroutine; define it with `async def`")
        except BaseException as error:
            fail(native, error)
        else:
            self._finish(native, result)

    async def arender(self, native: _RenderJob) -> None:
        """Renders on the loop that runs."""
        current.set(native.context)
        try:
            result = await self._callback(Job(native, self._loops))
        except GeneratorExit:
            # Its loop has closed.
            raise
        except BaseException as error:
            if cancelled():
                # No failure of the render's own, whatever its clean-up made of it.
                raise asyncio.CancelledError from error
            # Neither KeyboardInterrupt nor SystemExit of a render ends the application's loop.
            fail(native, error)
        else:
            self._finish(native, result)

    def _finish(self, native: _RenderJob, result: Any) -> None:
        if result is None and (self._deferred or native.finished):
            return
        try:
            native.complete(result)
        except BaseException as error:
            # What the core refuses has finished the job: those who wait know.
            if not native.finished:
                fail(native, error)
            elif not isinstance(error, Finished):
                _log(native, error)


class _Render:
    """One async render."""

    def __init__(self, route: Route, native: _RenderJob) -> None:
        self._route = route
        self._native = native

    @property
    def path(self) -> str:
        return self._native.path

    @property
    def over(self) -> bool:
        return self._native.finished or self._native.context.cancelled

    async def run(self) -> None:
        await self._route.arender(self._native)

    def fail(self, error: BaseException) -> None:
        fail(self._native, error)


def fail(native: _RenderJob, error: BaseException) -> None:
    """Fails a render that may be over."""
    if not native.context.cancelled:
        _log(native, error)
    with contextlib.suppress(Finished):
        native.fail(error)


def _log(native: _RenderJob, error: BaseException) -> None:
    """Says what nobody is told, because the last good page is served instead."""
    if native.reason in ("stale", "expired"):
        logger.warning("the render of %s failed; the last good page stays", native.path, exc_info=error)


def is_async(callback: Callable[..., object]) -> bool:
    """Whether calling it gives a coroutine."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    if inspect.iscoroutinefunction(callback):
        return True
    return inspect.iscoroutinefunction(type(callback).__call__)
