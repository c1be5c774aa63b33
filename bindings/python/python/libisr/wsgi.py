"""Serves a cache over WSGI, as an application or in front of one. Needs no framework.

application = libisr.wsgi.ISR(cache)                        # alone
application = libisr.wsgi.ISR(cache, fallback=application)  # the application gets what no page matches
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from ._cache import Cache
from ._errors import IsrError, NoRoute
from ._http import Headers, broken, check, failure, method_not_allowed, quoted

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class ISR:
    """A WSGI application that answers GET and HEAD from a cache.

    `fallback` gets every other request: other methods, and paths that no page matches. `variant` and `draft` read the
    variant of a request, and whether it may see drafts, from its environ.
    """

    def __init__(
        self,
        cache: Cache,
        fallback: App | None = None,
        *,
        variant: Callable[[Environ], Mapping[str, str] | None] | None = None,
        draft: Callable[[Environ], bool] | None = None,
    ) -> None:
        check(cache, fallback=fallback, variant=variant, draft=draft)
        self._cache = cache
        self._fallback = fallback
        self._variant = variant
        self._draft = draft

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method: str = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            if self._fallback is not None:
                return self._fallback(environ, start_response)
            return _send(start_response, *method_not_allowed(method))
        target = _target(environ)
        try:
            variant = self._variant(environ) if self._variant else None
            draft = self._draft(environ) if self._draft else False
        except Exception as error:
            return _send(start_response, *broken(error, method, target))
        try:
            if variant is None and draft is False:
                answer = self._cache.get(target)
            else:
                answer = self._cache.get(target, variant=variant, draft=draft)
        except NoRoute as error:
            if self._fallback is not None:
                return self._fallback(environ, start_response)
            return _send(start_response, *failure(error, method, target))
        except IsrError as error:
            return _send(start_response, *failure(error, method, target))
        except (TypeError, ValueError) as error:
            # What `variant` or `draft` gave.
            return _send(start_response, *broken(error, method, target))
        none_match, accept_encoding = environ.get("HTTP_IF_NONE_MATCH"), environ.get("HTTP_ACCEPT_ENCODING")
        key = ("wsgi", method, none_match, accept_encoding)
        made = answer._made(key)
        if made is None:
            head = answer.head(method, none_match, accept_encoding)
            headers = head.headers
            if head.status != 304:
                headers.append(("content-length", str(head.content_length)))
            made = (_line(head.status), tuple(_pairs(headers)), bytes(head.body))
            answer._keep_made(key, made, len(made[2]))
        status, pairs, body = made
        # The list is the receiver's own: middlewares change it.
        start_response(status, list(pairs))
        return [body] if body else []


def _target(environ: Environ) -> str:
    """The request target as the client sent it, where the server tells; a decoded `%2F` is lost otherwise."""
    raw: str | None = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is not None and raw.startswith("/"):
        return raw if raw.isascii() else _ascii(raw)
    decoded = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")) or "/"
    # PATH_INFO has one character for each byte (PEP 3333).
    path = _quoted(decoded.encode("latin-1"))
    query: str = environ.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def _ascii(raw: str) -> str:
    return "".join(c if c.isascii() else f"%{ord(c):02X}" for c in raw)


def _quoted(path: bytes) -> str:
    try:
        return quoted(path.decode("utf-8"))
    except UnicodeDecodeError:
        # Refused by the core, which sees it percent-encoded.
        return "".join(chr(b) if b < 0x80 and b != 0x25 else f"%{b:02X}" for b in path)


def _send(start_response: StartResponse, status: int, headers: Headers, body: bytes) -> Iterable[bytes]:
    start_response(_line(status), _pairs(headers))
    return [body] if body else []


def _pairs(headers: Headers) -> Headers:
    # Header values are bytes in the guise of latin-1 (PEP 3333).
    return [(name, value.encode("utf-8").decode("latin-1")) for name, value in headers]


def _line(status: int) -> str:
    return f"{status} {_reason(status)}"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
