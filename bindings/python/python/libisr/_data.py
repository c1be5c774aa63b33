"""Values of data entries, JSON text in the store so that every language reads them, and what loads them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ._errors import Finished, InvalidArgument
from ._libisr import _LoadJob, current
from ._loops import cancelled

if TYPE_CHECKING:
    from ._loops import Loop, Loops
    from ._types import Key


def encode(value: object, raw: bool) -> Any:
    """What is stored of a value."""
    if raw:
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(key: Key, value: bytes, raw: bool) -> Any:
    """The value of what is stored."""
    if raw:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidArgument(f"the data entry {key!r} holds no JSON; read it with raw=True") from error


def loader(load: Callable[[], object], raw: bool) -> Callable[[_LoadJob], None]:
    """A loader for the core: runs `load` on the thread that it is called on."""
    if not callable(load):
        raise TypeError(f"load must be a function without arguments; got {load!r} ({type(load).__name__})")
    if inspect.iscoroutinefunction(load):
        raise TypeError(f"load must not be async here: use adata; got {load!r}")

    def start(native: _LoadJob) -> None:
        contextvars.copy_context().run(_run, load, raw, native)

    return start


def _run(load: Callable[[], object], raw: bool, native: _LoadJob) -> None:
    current.set(native.context)
    try:
        value = encode(load(), raw)
    except BaseException as error:
        _fail(native, error)
    else:
        _complete(native, value)


def async_loader(
    load: Callable[[], Awaitable[object]], raw: bool, loops: Loops, loop: Loop
) -> Callable[[_LoadJob], None]:
    """A loader for the core: runs `load` on the loop that asked, or where other async callbacks run."""
    if not callable(load):
        raise TypeError(f"load must be an async function without arguments; got {load!r} ({type(load).__name__})")

    def start(native: _LoadJob) -> None:
        loops.run(_Load(load, raw, native), first=loop)

    return start


class _Load:
    """One async load."""

    path = None

    def __init__(self, load: Callable[[], Awaitable[object]], raw: bool, native: _LoadJob) -> None:
        self._load = load
        self._raw = raw
        self._native = native

    @property
    def over(self) -> bool:
        return self._native.context.cancelled

    async def run(self) -> None:
        current.set(self._native.context)
        try:
            value = self._load()
            value = encode(await value if inspect.isawaitable(value) else value, self._raw)
        except GeneratorExit:
            # Its loop has closed.
            raise
        except BaseException as error:
            if cancelled():
                # No failure of the load's own.
                raise asyncio.CancelledError from error
            _fail(self._native, error)
        else:
            _complete(self._native, value)

    def fail(self, error: BaseException) -> None:
        _fail(self._native, error)


def _fail(native: _LoadJob, error: BaseException) -> None:
    with contextlib.suppress(Finished):
        native.fail(error)


def _complete(native: _LoadJob, value: Any) -> None:
    try:
        native.complete(value)
    except BaseException as error:
        # A wrong type is a failure; what the core refuses has finished the job, and those who wait know.
        _fail(native, error)
