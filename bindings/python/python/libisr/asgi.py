"""Serves a cache over ASGI, as an application or in front of one. Needs no framework.

app = libisr.asgi.ISR(cache)              # alone
app = libisr.asgi.ISR(cache, fallback=app)  # the application gets what no page matches
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from ._cache import Cache
from ._errors import IsrError, NoRoute
from ._http import Headers, broken, check, failure, method_not_allowed, quoted
from ._libisr import Answer

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ISR:
    """An ASGI application that answers GET and HEAD from a cache.

    `fallback` gets every other request: other methods, paths that no page matches, websockets, lifespan. `variant` and
    `draft` read the variant of a request, and whether it may see drafts, from its scope.
    """

    def __init__(
        self,
        cache: Cache,
        fallback: App | None = None,
        *,
        variant: Callable[[Scope], Mapping[str, str] | None] | None = None,
        draft: Callable[[Scope], bool] | None = None,
    ) -> None:
        check(cache, fallback=fallback, variant=variant, draft=draft)
        self._cache = cache
        self._fallback = fallback
        self._variant = variant
        self._draft = draft
        asks_plainly = variant is None and draft is None
        self._known: Callable[[Scope], Made | None] = cache._asgi_made if asks_plainly else _nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        made = self._known(scope)
        if made is None:
            return await self._answer(scope, receive, send)
        # As `_send_made`, without a coroutine more.
        status, headers, body = made
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        return await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what is not known from before."""
        if scope["type"] != "http":
            return await self._other(scope, receive, send)
        method: str = scope["method"]
        if method not in ("GET", "HEAD"):
            if self._fallback is not None:
                return await self._fallback(scope, receive, send)
            return await _send(send, *method_not_allowed(method))
        target = _target(scope)
        try:
            variant = self._variant(scope) if self._variant else None
            draft = self._draft(scope) if self._draft else False
        except Exception as error:
            return await _send(send, *broken(error, method, target))
        try:
            if variant is None and draft is False:
                answer = self._cache.try_get(target)
            else:
                answer = self._cache.try_get(target, variant=variant, draft=draft)
            if answer is None:
                answer = await self._cache._aget(target, variant, draft, False)
        except NoRoute as error:
            if self._fallback is not None:
                return await self._fallback(scope, receive, send)
            return await _send(send, *failure(error, method, target))
        except IsrError as error:
            return await _send(send, *failure(error, method, target))
        except (TypeError, ValueError) as error:
            # What `variant` or `draft` gave.
            return await _send(send, *broken(error, method, target))
        none_match = accept_encoding = None
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                accept_encoding = value if accept_encoding is None else accept_encoding + b", " + value
            elif name == b"if-none-match":
                none_match = value if none_match is None else none_match + b", " + value
        # By this key the native `_asgi_made` finds it.
        is_plain = none_match is None and accept_encoding is None
        key = method if is_plain else ("asgi", method, none_match, accept_encoding)
        made = answer._made(key)
        if made is None:
            made = _make(answer, method, none_match, accept_encoding)
            answer._keep_made(key, made, len(made[2]))
        return await _send_made(send, made)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fallback is not None:
            await self._fallback(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            raise ValueError(f"libisr.asgi.ISR serves http and lifespan; got a scope of type {scope['type']!r}")


Made: TypeAlias = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]


def _nothing(scope: Scope) -> None:
    """Of a request that must be looked at closer."""


def _make(answer: Answer, method: str, none_match: bytes | None, accept_encoding: bytes | None) -> Made:
    """Status, headers and body to send."""
    head = answer.head(method, _text(none_match), _text(accept_encoding))
    headers = _encoded(head.headers)
    if head.status != 304:
        headers.append((b"content-length", b"%d" % head.content_length))
    return head.status, tuple(headers), bytes(head.body)


async def _send_made(send: Send, made: Made) -> None:
    status, headers, body = made
    # The list is the receiver's own: middlewares change it.
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": body})


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _target(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    # A path that is no UTF-8 is refused by the core, which sees it percent-encoded.
    if raw is None:
        path = quoted(scope["path"])
    elif raw.isascii():
        path = raw.decode("ascii")
    else:
        path = quoted_bytes(raw)
    query: bytes = scope.get("query_string", b"")
    return f"{path}?{query.decode('latin-1')}" if query else path


def quoted_bytes(raw: bytes) -> str:
    """A raw path as text: bytes beyond ASCII are percent-encoded, the rest stays."""
    return "".join(chr(b) if b < 0x80 else f"%{b:02X}" for b in raw)


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("utf-8")) for name, value in headers]


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
