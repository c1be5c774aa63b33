"""The ASGI and WSGI adapters."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import libisr
import pytest
from libisr import asgi, wsgi

Response = tuple[int, dict[str, str], bytes]


@pytest.fixture
def site(clock: libisr.ManualClock) -> Iterator[libisr.Cache]:
    with libisr.Cache(clock=clock, backoff_jitter=0) as cache:

        @cache.page("/b/[id]", revalidate=60, query=["q"], vary={"lang": "accept-language"})
        def page(job: libisr.Job) -> libisr.Result:
            text = f"{job.params['id']} {job.variant} {job.draft}"
            return libisr.Result(text, headers={"content-type": "text/plain", "x-name": "é"})

        @cache.page("/boom")
        def boom(job: libisr.Job) -> str:
            raise ValueError("a secret of the server")

        yield cache


def ask_asgi(
    app: asgi.App, path: str, method: str = "GET", headers: dict[str, str] | None = None, **scope: Any
) -> Response:
    raw, _, query = path.partition("?")
    from urllib.parse import unquote

    full = {
        "type": "http",
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(n.encode(), v.encode()) for n, v in (headers or {}).items()],
        **scope,
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the adapter reads no body")

    asyncio.run(_call(app, full, receive, send))
    start, body = sent
    fields = {n.decode("latin-1"): v.decode("utf-8") for n, v in start["headers"]}
    assert type(body["body"]) is bytes
    return start["status"], fields, body["body"]


async def _call(app: asgi.App, *arguments: Any) -> None:
    await app(*arguments)


def ask_wsgi(
    app: wsgi.App, path: str, method: str = "GET", headers: dict[str, str] | None = None, **environ: Any
) -> Response:
    raw, _, query = path.partition("?")
    from urllib.parse import unquote_to_bytes

    full: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "SCRIPT_NAME": "",
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{n.upper().replace('-', '_')}": v for n, v in (headers or {}).items()},
        **environ,
    }
    setup_testing_defaults(full)
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen.extend([int(status[:3]), {n: v.encode("latin-1").decode("utf-8") for n, v in headers}])
        return lambda data: None

    result = app(full, start_response)
    body = b"".join(result)
    getattr(result, "close", lambda: None)()
    return seen[0], seen[1], body


def _asgi(cache: libisr.Cache, **options: Any) -> Any:
    app = asgi.ISR(cache, **options)
    return lambda *a, **k: ask_asgi(app, *a, **k)


def _wsgi(cache: libisr.Cache, **options: Any) -> Any:
    app = wsgi.ISR(cache, **options)
    return lambda *a, **k: ask_wsgi(app, *a, **k)


@pytest.fixture(params=[_asgi, _wsgi], ids=["asgi", "wsgi"])
def door(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_page(site: libisr.Cache, door: Any) -> None:
    ask = door(site)
    status, headers, body = ask("/b/1?q=x&z=1")
    assert (status, body) == (200, b"1 {'q': 'x'} False")
    assert headers["x-isr-cache"] == "MISS"
    assert headers["content-type"] == "text/plain"
    assert headers["content-length"] == str(len(body))
    assert headers["vary"] == "accept-language"
    assert headers["x-name"] == "é"
    assert ask("/b/1?q=x")[1]["x-isr-cache"] == "HIT"
    status, headers, body = ask("/b/1?q=x", "HEAD")
    assert (status, headers["content-length"], body) == (200, "18", b"")
    status, headers, body = ask("/b/1?q=x", headers={"if-none-match": headers["etag"]})
    assert (status, body) == (304, b"")
    assert "content-length" not in headers
    assert ask("/b/caf%C3%A9")[2].startswith("café".encode())


def test_errors(site: libisr.Cache, door: Any, caplog: pytest.LogCaptureFixture) -> None:
    ask = door(site)
    for path, status, kind in [("/none", 404, "no_route"), ("/b//c", 400, "invalid_path"), ("/boom", 500, "render")]:
        got, headers, body = ask(path)
        assert (got, body) == (status, f"{status} {kind}\n".encode())
        assert headers["cache-control"] == "private, no-cache, no-store, max-age=0, must-revalidate"
        got, headers, body = ask(path, "HEAD")
        assert (got, body) == (status, b"")
    status, headers, body = ask("/b/1", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert ask("/b/%FF")[0] == 400
    site.close()
    assert ask("/b/1")[0] == 503
    logged = [record for record in caplog.records if "a secret of the server" in record.getMessage()]
    assert {record.name for record in logged} == {"libisr"}


def test_variant_and_draft(site: libisr.Cache, door: Any) -> None:
    ask = door(site, variant=lambda request: {"lang": "de"}, draft=lambda request: True)
    status, headers, body = ask("/b/1")
    assert (status, body) == (200, b"1 {'lang': 'de'} True")
    assert headers["x-isr-cache"] == "BYPASS"


def test_a_failure_is_logged_once(site: libisr.Cache, door: Any, caplog: pytest.LogCaptureFixture) -> None:
    ask = door(site)
    for _ in range(3):
        assert ask("/boom?token=secret", "HEAD")[0] == 500
    first, *again = caplog.records
    assert first.exc_info is not None
    assert isinstance(first.exc_info[1], libisr.RenderError)
    # During the back-off a line is enough.
    assert [record.exc_info for record in again] == [None, None]
    assert {record.getMessage() for record in caplog.records} == {
        "HEAD '/boom' failed: render: ValueError: a secret of the server"
    }
    site.close()
    caplog.clear()
    ask("/b/1")
    [record] = caplog.records
    assert record.getMessage().startswith("GET '/b/1' failed: closed: ")
    assert record.exc_info is None


def fail(request: Any) -> Any:
    raise libisr.NoRoute("a secret of the server")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"variant": fail}, "NoRoute: a secret of the server"),
        ({"draft": fail}, "NoRoute: a secret of the server"),
        ({"variant": lambda request: "en"}, "TypeError: variant must be a dict of str to str; got 'en' (str)"),
        ({"draft": lambda request: 1}, "TypeError: draft must be a bool; got 1 (int)"),
    ],
)
def test_functions_that_fail(
    site: libisr.Cache, door: Any, options: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, headers, body = door(site, **options)("/b/1?q=x")
    assert (status, body) == (500, b"500 internal_server_error\n")
    assert headers["cache-control"].startswith("private")
    [record] = caplog.records
    assert record.getMessage() == f"GET '/b/1' failed: {says}"
    assert record.exc_info is not None


@pytest.mark.parametrize("adapter", [asgi.ISR, wsgi.ISR])
def test_what_an_adapter_refuses(site: libisr.Cache, adapter: Any) -> None:
    async def later(request: object) -> bool:
        raise AssertionError("it was called")

    with pytest.raises(TypeError, match=r"cache must be a libisr\.Cache; got 3 \(int\)"):
        adapter(3)
    for name in ("fallback", "variant", "draft"):
        with pytest.raises(TypeError, match=f"{name} must be a function or None; got 'x'"):
            adapter(site, **{name: "x"})
    for name in ("variant", "draft"):
        with pytest.raises(TypeError, match=f"{name} must be a plain function, not async"):
            adapter(site, **{name: later})


def test_asgi_paths(site: libisr.Cache) -> None:
    ask = _asgi(site)
    assert ask("/b/x%2Fy")[2].startswith(b"x/y ")
    # A server without raw_path.
    assert ask("/b/100%25%3F", raw_path=None)[2].startswith(b"100%? ")
    assert ask("/x", raw_path="/b/é".encode())[2].startswith("é ".encode())


def test_wsgi_paths(site: libisr.Cache) -> None:
    ask = _wsgi(site)
    assert ask("/b/100%25%3F")[2].startswith(b"100%? ")
    assert ask("/b/x%2Fy", RAW_URI="/b/x%2Fy?q=1")[2].startswith(b"x/y {'q': '1'}")
    assert ask("/b/1", RAW_URI="http://host/b/2")[2].startswith(b"1 ")
    assert ask("/1", SCRIPT_NAME="/b")[2].startswith(b"1 ")


def test_wsgi_conforms(site: libisr.Cache) -> None:
    app = validator(wsgi.ISR(site))
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/b/1", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    seen: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        seen.append(status)
        return lambda data: None

    result = app(environ, start_response)
    assert b"".join(result).startswith(b"1 ")
    result.close()  # type: ignore[attr-defined]
    assert seen == ["200 OK"]


def test_fallbacks(site: libisr.Cache) -> None:
    async def asgi_fallback(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"fallback"})

    def wsgi_fallback(environ: Any, start_response: Any) -> list[bytes]:
        start_response("299 Other", [])
        return [b"fallback"]

    for ask in (_asgi(site, fallback=asgi_fallback), _wsgi(site, fallback=wsgi_fallback)):
        assert ask("/none")[::2] == (299, b"fallback")
        assert ask("/b/1", "POST")[::2] == (299, b"fallback")
        assert ask("/b/1")[0] == 200
        assert ask("/boom")[0] == 500


def test_asgi_lifespan_and_other_scopes(site: libisr.Cache) -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = asgi.ISR(site)
    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(app({"type": "websocket"}, receive, send))
