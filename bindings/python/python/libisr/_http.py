"""What the two adapters share: requests in, heads out. All headers of pages come from the core."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from ._cache import Cache
from ._errors import IsrError
from ._render import is_async

logger = logging.getLogger("libisr")

NO_STORE = "private, no-cache, no-store, max-age=0, must-revalidate"
"""`cache-control` of errors (semantics, section 10)."""

Headers = list[tuple[str, str]]


def quoted(path: str) -> str:
    """The path of a request whose server has decoded it, fit to be canonicalised again."""
    return quote(path, safe="/:@!$&'()*+,;=-._~[]")


def check(cache: object, **functions: Any) -> None:
    """Refuses what an adapter cannot work with, before there are requests."""
    if not isinstance(cache, Cache):
        raise TypeError(f"cache must be a libisr.Cache; got {cache!r} ({type(cache).__name__})")
    for name, function in functions.items():
        if function is None:
            continue
        if not callable(function):
            raise TypeError(f"{name} must be a function or None; got {function!r} ({type(function).__name__})")
        if name != "fallback" and is_async(function):
            raise TypeError(f"{name} must be a plain function, not async; got {function!r}")


def failure(error: IsrError, method: str, target: str) -> tuple[int, Headers, bytes]:
    """The answer to a request that got an error; the error's text goes to the log, not to the client."""
    if error.http_status >= 500:
        # Without a cause it is remembered from before (a back-off), or says all by itself: a line is enough.
        _log(method, target, f"{error.kind}: {error}", None if error.__cause__ is None else error)
    return plain(error.http_status, error.kind, method)


def broken(error: Exception, method: str, target: str) -> tuple[int, Headers, bytes]:
    """The answer to a request of which the application's own functions could not make sense."""
    _log(method, target, f"{type(error).__name__}: {error}", error)
    return plain(500, "internal_server_error", method)


def _log(method: str, target: str, text: str, trace: BaseException | None) -> None:
    # The query may hold what belongs into no log.
    logger.error("%s %r failed: %s", method, target.partition("?")[0], text, exc_info=trace)


def plain(status: int, text: str, method: str) -> tuple[int, Headers, bytes]:
    """A short answer that nobody stores."""
    body = f"{status} {text}\n".encode()
    headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", NO_STORE),
        ("content-length", str(len(body))),
    ]
    return status, headers, b"" if method == "HEAD" else body


def method_not_allowed(method: str) -> tuple[int, Headers, bytes]:
    """The answer to a method that pages do not have."""
    status, headers, body = plain(405, "method_not_allowed", method)
    return status, [*headers, ("allow", "GET, HEAD")], body
