"""Native half of the package."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from datetime import timedelta
from types import EllipsisType
from typing import Any, Final, Literal, Self, TypeAlias, final, overload

from typing_extensions import Buffer, disjoint_base

from ._errors import StoreError
from ._types import CacheWord, Head, Key, Reason, Seconds, State

__all__ = [
    "ERRORS",
    "OPTIONS",
    "Answer",
    "ManualClock",
    "Page",
    "Result",
    "_Cache",
    "_Context",
    "_LoadJob",
    "_RenderJob",
    "__version__",
    "_after_fork_in_child",
    "_after_fork_in_parent",
    "_before_fork",
    "_interpreter_exits",
    "_keep",
    "_prepare",
    "_test_panic",
    "canonical_path",
    "current",
]

__version__: Final[str]
OPTIONS: Final[list[str]]
ERRORS: Final[list[tuple[str, int, int]]]
current: Final[ContextVar[_Context | None]]

_Later: TypeAlias = tuple[Any, Any]
_Paths: TypeAlias = str | Iterable[str]
_Variant: TypeAlias = Mapping[str, str] | None
_Body: TypeAlias = str | bytes | bytearray | memoryview

def canonical_path(path: str) -> str: ...
def _after_fork_in_child() -> None: ...
def _after_fork_in_parent() -> None: ...
def _before_fork() -> None: ...
def _interpreter_exits() -> None: ...
def _keep(object: object) -> None: ...
def _prepare() -> None: ...
def _test_panic() -> None: ...

@final
class ManualClock:
    """A clock that stands still until told to move; give it to `Cache(clock=...)`.

    `start` is in seconds since 1970. Usable from any thread, and by several caches.
    """

    def __new__(cls, start: float = 1700000000.0) -> ManualClock: ...
    def now(self) -> float:
        """Seconds since 1970 that it shows."""

    def advance(self, by: float | timedelta) -> None:
        """Moves forward by seconds or a timedelta. Time-outs of renders that fall due fire before it returns."""

    def set_wall(self, to: float) -> None:
        """Sets the wall clock alone, also backwards, as NTP would; running time-outs go on."""

@final
class Page(Buffer):
    """A stored response: immutable, readable from any thread, alive as long as this object or a view of its body."""

    @property
    def path(self) -> str:
        """The canonical path."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The render's own header fields, names in lower case. What a client is sent is `Answer.head`."""

    @property
    def body(self) -> memoryview:
        """The body as a memoryview, without a copy; it keeps the page alive."""

    @property
    def etag(self) -> str:
        """The strong etag with its quotes; empty for a page that is not for the store."""

    @property
    def tags(self) -> list[str]:
        """All tags: the route's, the result's, and those of the data entries that the render read."""

    @property
    def revalidate(self) -> float | None:
        """Seconds until it is stale, after the min rule; None is never."""

    @property
    def expire(self) -> float | None:
        """Seconds until it is expired; None is never."""

    @property
    def generated(self) -> float:
        """When it was stored, in seconds since 1970."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Answer:
    """An answer to a request: a page, and how it came about."""

    @property
    def cache(self) -> CacheWord:
        """How it came about: "hit", "stale", "miss", "revalidated", "stale-error" or "bypass"."""

    @property
    def page(self) -> Page:
        """The page."""

    @property
    def age(self) -> int:
        """Whole seconds since the page was generated, at the time of the answer."""

    @property
    def status(self) -> int:
        """The page's HTTP status."""

    @property
    def body(self) -> memoryview:
        """The page's body as a memoryview, without a copy; it keeps the page alive."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The render's own header fields, names in lower case. What a client is sent is `head`."""

    def head(
        self,
        method: Literal["GET", "HEAD"] | str = "GET",
        if_none_match: str | None = None,
        accept_encoding: str | None = None,
    ) -> Head:
        """Status, headers and body to send for a request with these headers."""

    def _made(self, key: object) -> Any: ...
    def _keep_made(self, key: object, made: object, size: int) -> None: ...

@final
class Result:
    """A page as a render makes it: body, status, headers, and what overrides the route's options.

    `revalidate` and `expire` are seconds, or None or False for never; left out, the route's hold.
    """

    def __new__(
        cls,
        body: _Body = b"",
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        *,
        revalidate: Seconds | EllipsisType = ...,
        expire: Seconds | EllipsisType = ...,
        tags: Iterable[str] | None = None,
        no_store: bool = False,
        remove: bool = False,
    ) -> Result: ...
    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The body as bytes."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields as they were given."""

@disjoint_base
class _Cache:
    def __new__(
        cls,
        *,
        clock: ManualClock | None = None,
        on_trouble: Callable[[StoreError], None] | None = None,
        **options: Any,
    ) -> Self: ...
    def get(self, path: str, *, variant: _Variant = None, draft: bool = False, prefetch: bool = False) -> Answer:
        """Answers a request; waits where it must be rendered first."""

    def try_get(
        self, path: str, *, variant: _Variant = None, draft: bool = False, prefetch: bool = False
    ) -> Answer | None:
        """The answer of `get` where that needs no waiting, else None; starts nothing then. Never blocks."""

    def _asgi_made(self, scope: object) -> Any: ...
    def _get_then(
        self, event_loop: AbstractEventLoop, path: str, variant: _Variant, draft: bool, prefetch: bool
    ) -> _Later: ...
    def _peek(self, path: str, variant: _Variant) -> tuple[State, Page | None, int]: ...
    @overload
    def regenerate(self, path: str, *, variant: _Variant = None, only_generated: Literal[False] = False) -> Answer:
        """Renders now, even if the page is fresh, and waits. With `only_generated`, None where nothing is stored."""

    @overload
    def regenerate(self, path: str, *, variant: _Variant = None, only_generated: bool) -> Answer | None:
        """Renders now, even if the page is fresh, and waits. With `only_generated`, None where nothing is stored."""

    def _regenerate_then(
        self, event_loop: AbstractEventLoop, path: str, variant: _Variant, only_generated: bool
    ) -> _Later: ...
    def revalidate_path(self, paths: _Paths, type: Literal["page", "layout"] | None = None) -> bool:
        """Invalidates pages by one or many paths or patterns; whether any route could match."""

    def revalidate_tag(self, tags: _Paths, *, soft: bool = False, expire: float | timedelta | None = None) -> None:
        """Invalidates pages and data entries by one or many tags."""

    def remove(self, paths: _Paths) -> None:
        """Removes the stored pages of one or many paths, all variants."""

    def _prerender(self, progress: Callable[..., object] | None) -> tuple[Any, Any, Any]: ...
    def _prerender_then(self, event_loop: AbstractEventLoop, progress: Callable[..., object] | None) -> _Later: ...
    def _data(
        self, key: Key, tags: Iterable[str], revalidate: object, loader: Callable[[_LoadJob], None]
    ) -> tuple[bytes, CacheWord]: ...
    def _data_then(
        self,
        key: Key,
        tags: Iterable[str],
        revalidate: object,
        loader: Callable[[_LoadJob], None],
        event_loop: AbstractEventLoop,
    ) -> _Later: ...
    def started(self) -> int:
        """The present epoch, to be taken before a page is rendered outside of the cache, for `put`."""

    def put(self, path: str, page: _Body | Result, started: int, *, variant: _Variant = None) -> bool:
        """Stores a page that was rendered outside of the cache; whether it is stored now."""

    def draft_token(self, valid_for: float | timedelta) -> str:
        """A signed token that lets its bearer see drafts for this long."""

    def verify_draft(self, token: str) -> bool:
        """Whether a draft token is genuine and has not expired."""

    def stats(self) -> dict[str, int]:
        """Counters since the cache was opened, by name."""

    def _activity(self) -> tuple[int, int, int, int]: ...
    def _add_route(self, pattern: str, options: dict[str, Any], start: Callable[[_RenderJob], None]) -> None: ...
    def _uses_loops(self) -> None: ...
    def _forget(self) -> None: ...
    def _close(self, timeout: Seconds) -> bool: ...
    @property
    def closed(self) -> bool:
        """Whether it is closed."""

@final
class _Context:
    @property
    def cancelled(self) -> bool: ...

@final
class _RenderJob:
    @property
    def context(self) -> _Context: ...
    @property
    def path(self) -> str: ...
    @property
    def pattern(self) -> str: ...
    @property
    def params(self) -> dict[str, str | list[str]]: ...
    @property
    def variant(self) -> dict[str, str | list[str]]: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def previous(self) -> Page | None: ...
    @property
    def draft(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    def complete(self, result: _Body | Result) -> None: ...
    def fail(self, error: BaseException | str) -> None: ...
    def data(
        self, key: Key, tags: Iterable[str], revalidate: object, loader: Callable[[_LoadJob], None]
    ) -> tuple[bytes, CacheWord]: ...
    def data_then(
        self,
        key: Key,
        tags: Iterable[str],
        revalidate: object,
        loader: Callable[[_LoadJob], None],
        event_loop: AbstractEventLoop,
    ) -> _Later: ...

@final
class _LoadJob:
    @property
    def key(self) -> list[str]: ...
    @property
    def context(self) -> _Context: ...
    def complete(self, value: Buffer) -> None: ...
    def fail(self, error: BaseException | str) -> None: ...
