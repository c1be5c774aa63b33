"""What the two adapters share: requests in, heads out. All headers of pages come from the core."""

from __future__ import annotations

import logging
from urllib.parse import quote

from ._errors import IsrError

logger = logging.getLogger("libisr")

NO_STORE = "private, no-cache, no-store, max-age=0, must-revalidate"
"""`cache-control` of errors (semantics, section 10)."""

Headers = list[tuple[str, str]]


def quoted(path: str) -> str:
    """The path of a request whose server has decoded it, fit to be canonicalised again."""
    return quote(path, safe="/:@!$&'()*+,;=-._~[]")


def failure(error: IsrError, method: str) -> tuple[int, Headers, bytes]:
    """The answer to a request that got an error; the error's text goes to the log, not to the client."""
    if error.http_status >= 500:
        logger.error("a request failed: %s", error, exc_info=error)
    return plain(error.http_status, error.kind, method)


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
