"""Exceptions: the table, causes, the worst that callbacks do, and wrong arguments to every call."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import libisr
import pytest
from conftest import settle, until
from libisr import _errors, _libisr


def test_the_table_is_complete() -> None:
    table = {kind: (code, http_status) for kind, code, http_status in _libisr.ERRORS}
    assert len(table) >= 11
    assert set(_errors.BY_KIND) == set(table)
    for kind, cls in _errors.BY_KIND.items():
        assert issubclass(cls, libisr.IsrError)
        assert cls.kind == kind
        assert (cls.code, cls.http_status) == table[kind]
        assert getattr(libisr, cls.__name__) is cls
        assert cls.__name__ in libisr.__all__
    assert issubclass(libisr.RenderTimeout, TimeoutError)
    assert issubclass(libisr.InvalidArgument, ValueError)
    assert not issubclass(libisr.IsrError, (ValueError, OSError))


def test_the_options_are_complete() -> None:
    assert set(libisr.CacheOptions.__annotations__) == set(_libisr.OPTIONS)


@pytest.mark.parametrize("name", _libisr.OPTIONS)
def test_every_option_knows_its_type(name: str) -> None:
    wrong: dict[str, Any] = {name: object()}
    with pytest.raises(TypeError, match=f"^{name} must be a"):
        libisr.Cache(**wrong)


def test_every_option_is_taken(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "deployment": "d",
        "max_bytes": 1 << 20,
        "max_entry_bytes": 1 << 10,
        "stale_if_error": timedelta(hours=1),
        "backoff_jitter": 0.5,
        "max_queue": 5,
        "threads": 2,
        "max_regenerations": 1,
        "max_regenerations_per_tag": None,
        "early_refresh": 0.5,
        "default_revalidate": 60,
        "default_expire": None,
        "default_timeout": False,
        "max_variants": 3,
        "max_invalidations": 10,
        "storable_statuses": [200, 404],
        "draft_secret": "0123456789abcdef",
        "precompress": ("gzip", "br"),
        "directory": tmp_path,
        "max_disk_bytes": 1 << 20,
        "durable": True,
        "name": "test of all options",
    }
    assert set(options) == set(_libisr.OPTIONS)
    with libisr.Cache(**options) as cache:
        cache.page("/")(lambda job: "x")
        page = cache.get("/").page
        assert (page.revalidate, page.expire) == (60, None)


def test_a_render_that_raises(cache: libisr.Cache) -> None:
    error = ValueError("oops")

    @cache.page("/")
    def page(job: libisr.Job) -> str:
        raise error

    with pytest.raises(libisr.RenderError, match=r"^ValueError: oops$") as caught:
        cache.get("/")
    assert caught.value.__cause__ is error
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_next is not None
    assert error.__traceback__.tb_next.tb_frame.f_code.co_name == "page"
    with pytest.raises(libisr.RenderError) as again:
        cache.get("/")
    assert again.value is not caught.value
    assert str(again.value) == str(caught.value)
    # What is remembered during the back-off does not keep the exception and its frames alive.
    assert again.value.__cause__ is None
    assert cache.stats()["renders"] == 1, "the second error came from the back-off"


def test_what_nobody_is_told_is_logged(
    cache: libisr.Cache, clock: libisr.ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    results: list[Any] = ["v1", ValueError("in the background"), 5, libisr.Result(status=500)]

    @cache.page("/", revalidate=1)
    def page(job: libisr.Job) -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    cache.get("/")
    assert caplog.records == []
    for says in ("in the background", "must be str", "500"):
        clock.advance(1000)
        caplog.clear()
        assert cache.get("/").cache == "stale"
        settle(cache)
        # What the core refused is logged after the render has ended.
        until(lambda: bool(caplog.records))
        [record] = caplog.records
        assert (record.name, record.levelname) == ("libisr", "WARNING")
        assert "the render of / failed" in record.getMessage()
        assert record.exc_info is not None
        assert says in str(record.exc_info[1])


def test_an_exception_may_do_anything_when_it_dies(cache: libisr.Cache) -> None:
    died = []

    class Loud(Exception):
        def __del__(self) -> None:
            died.append(cache.peek("/").state)
            cache.remove("/")

    def fail() -> None:
        raise Loud("x")

    cache.page("/")(lambda job: fail())
    with pytest.raises(libisr.RenderError):
        cache.get("/")
    # The page that is put takes the place of the error.
    assert cache.put("/", "x", cache.started())
    keys = map(str, itertools.count())

    def dead() -> bool:
        gc.collect()
        # Any callback lets go of what the core has dropped.
        cache.data(next(keys), lambda: 1)
        return bool(died)

    until(dead)
    assert died == ["fresh"]


class Worse(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("stop"), SystemExit(3), GeneratorExit(), Worse(), StopIteration(1)]
)
def test_the_worst_that_a_callback_raises(cache: libisr.Cache, error: BaseException) -> None:
    def fail(*_: object) -> str:
        raise error

    cache.page("/render")(fail)
    cache.page("/load")(lambda job: job.data("k", fail))
    with pytest.raises(libisr.RenderError) as caught:
        cache.get("/render")
    assert caught.value.__cause__ is error
    with pytest.raises(libisr.RenderError) as caught:
        cache.get("/load")
    assert isinstance(caught.value.__cause__, libisr.RenderError)
    assert caught.value.__cause__.__cause__ is error
    with pytest.raises(libisr.RenderError):
        cache.data("other", fail)
    cache.page("/good")(lambda job: "good")
    assert bytes(cache.get("/good").body) == b"good"


@pytest.mark.parametrize("result", [None, 5, ["x"], object()])
def test_a_render_that_gives_something_else(cache: libisr.Cache, result: Any) -> None:
    cache.page("/")(lambda job: result)
    with pytest.raises(libisr.RenderError, match=r"must be str, bytes or a libisr\.Result; got ") as caught:
        cache.get("/")
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_def_that_gives_a_coroutine(cache: libisr.Cache) -> None:
    async def page(job: libisr.Job) -> str:
        return "x"

    cache.page("/")(lambda job: page(job))
    with pytest.raises(libisr.RenderError, match="define it with `async def`"):
        cache.get("/")


@pytest.mark.parametrize(
    ("result", "rule"),
    [
        (libisr.Result(status=503), "503"),
        (libisr.Result(headers={"bad name": "x"}), "bad name"),
        (libisr.Result(headers={"x": "a\r\nb"}), "x"),
        (libisr.Result(headers={"connection": "close"}), "connection"),
        (libisr.Result(tags=[""]), "tag"),
        (libisr.Result(tags=[str(i) for i in range(129)]), "128"),
        (libisr.Result(status=307), "location"),
    ],
)
def test_invalid_pages(cache: libisr.Cache, result: libisr.Result, rule: str) -> None:
    cache.page("/")(lambda job: result)
    with pytest.raises(libisr.RenderError, match=rule):
        cache.get("/")
    with pytest.raises(libisr.RenderError, match=rule):
        cache.put("/", result, cache.started())


def test_a_fault_of_the_library_is_an_exception() -> None:
    with pytest.raises(libisr.InternalError, match="a test asked for it") as caught:
        _libisr._test_panic()
    assert isinstance(caught.value, Exception)


def test_a_timeout(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    begun, gate, finished = threading.Event(), threading.Event(), threading.Event()
    late: list[object] = []

    @cache.page("/", timeout=10, deferred=True)
    def page(job: libisr.Job) -> None:
        begun.set()
        gate.wait(20)
        try:
            job.complete("late")
        except libisr.Finished as error:
            late.append(error)
        finished.set()

    caught: list[BaseException] = []

    def ask() -> None:
        try:
            cache.get("/")
        except libisr.IsrError as error:
            caught.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert begun.wait(20)
    clock.advance(10.001)
    waiting.join(20)
    assert isinstance(caught[0], libisr.RenderTimeout)
    assert "10" in str(caught[0])
    gate.set()
    assert finished.wait(20)
    assert len(late) == 1
    assert cache.peek("/").state == "missing"


def test_finishing_after_close(clock: libisr.ManualClock) -> None:
    cache = libisr.Cache(clock=clock)
    jobs: list[libisr.Job] = []
    begun = threading.Event()

    @cache.page("/", deferred=True)
    def page(job: libisr.Job) -> None:
        jobs.append(job)
        begun.set()

    def ask() -> None:
        with pytest.raises(libisr.Closed):
            cache.get("/")

    waiting = threading.Thread(target=ask)
    waiting.start()
    assert begun.wait(20)
    assert cache.close(0) is False
    waiting.join(20)
    assert not waiting.is_alive()
    assert jobs[0].cancelled
    with pytest.raises(libisr.Finished):
        jobs[0].complete("late")
    with pytest.raises(libisr.Closed):
        jobs[0].data("k", lambda: 1)


def test_conflicts_and_patterns(cache: libisr.Cache) -> None:
    cache.page("/blog/[id]")(lambda job: "x")
    with pytest.raises(libisr.Conflict):
        cache.page("/blog/[slug]")(lambda job: "x")
    with pytest.raises(libisr.InvalidArgument):
        cache.page("/[...a]/b")(lambda job: "x")


def test_busy(clock: libisr.ManualClock) -> None:
    begun, gate = threading.Event(), threading.Event()
    with libisr.Cache(clock=clock, threads=1, max_queue=0) as cache:

        @cache.page("/[id]")
        def page(job: libisr.Job) -> str:
            begun.set()
            gate.wait(20)
            return "x"

        waiting = threading.Thread(target=cache.get, args=("/1",))
        waiting.start()
        assert begun.wait(20)
        with pytest.raises(libisr.Busy, match="max_queue"):
            cache.get("/2")
        gate.set()
        waiting.join(20)


def wrong_calls() -> dict[str, tuple[Callable[[libisr.Cache], object], type[Exception], str]]:
    """Calls with a wrong argument, what they raise, and what it names."""
    job = lambda job: "x"  # noqa: E731
    # Not typed: all of this is wrong.
    module: Any = libisr
    invalid, type_ = libisr.InvalidArgument, TypeError
    calls: dict[str, tuple[Any, type[Exception], str]] = {
        "get path": (lambda c: c.get(5), type_, "path must be a str; got 5 (int)"),
        "get none": (lambda c: c.get(None), type_, "path must be a str; got None (NoneType)"),
        "get bytes": (lambda c: c.get(b"/x"), type_, "path must be a str; got b'/x' (bytes)"),
        "get surrogate": (lambda c: c.get("/\ud800"), libisr.InvalidPath, "'/\\ud800'"),
        "get relative": (lambda c: c.get("x"), libisr.InvalidPath, '"x"'),
        "get variant": (lambda c: c.get("/", variant="en"), type_, "variant must be a dict of str to str; got 'en'"),
        "get variant value": (lambda c: c.get("/", variant={"a": 1}), type_, 'variant["a"] must be a str; got 1'),
        "get variant name": (lambda c: c.get("/", variant={1: "a"}), type_, "a name in variant must be a str; got 1"),
        "get draft": (lambda c: c.get("/", draft=1), type_, "draft must be a bool; got 1 (int)"),
        "get prefetch": (lambda c: c.get("/", prefetch="no"), type_, "prefetch must be a bool; got 'no'"),
        "get unknown": (lambda c: c.get("/", stale=True), type_, "stale"),
        "try_get": (lambda c: c.try_get(5), type_, "path must be a str"),
        "peek": (lambda c: c.peek(5), type_, "path must be a str"),
        "in": (lambda c: 5 in c, type_, "path must be a str"),
        "regenerate": (lambda c: c.regenerate(5), type_, "path must be a str"),
        "regenerate flag": (
            lambda c: c.regenerate("/", only_generated=0),
            type_,
            "only_generated must be a bool; got 0",
        ),
        "page pattern": (lambda c: c.page(5)(job), type_, "pattern must be a str; got 5"),
        "page without pattern": (lambda c: c.page(job), type_, "write @cache.page(pattern)"),
        "page pattern text": (lambda c: c.page("x")(job), invalid, "x"),
        "page callback": (lambda c: c.page("/x")("no function"), type_, "'no function'"),
        "page unknown": (lambda c: c.page("/x", ttl=5)(job), invalid, 'unknown option of a page "ttl"'),
        "page revalidate": (lambda c: c.page("/x", revalidate="60")(job), type_, "revalidate must be a number"),
        "page revalidate true": (lambda c: c.page("/x", revalidate=True)(job), type_, "got True"),
        "page negative": (lambda c: c.page("/x", revalidate=-1)(job), invalid, "revalidate"),
        "page nan": (lambda c: c.page("/x", expire=float("nan"))(job), invalid, "expire"),
        "page timedelta": (lambda c: c.page("/x", timeout=timedelta(-1))(job), invalid, "timeout"),
        "page huge": (lambda c: c.page("/x", revalidate=10**400)(job), invalid, "revalidate is too large"),
        "page dynamic": (lambda c: c.page("/x", dynamic_params=1)(job), type_, "dynamic_params must be a bool"),
        "page static": (lambda c: c.page("/x", static_params={"id": "1"})(job), type_, "static_params must be a list"),
        "page static item": (
            lambda c: c.page("/x", static_params=["1"])(job),
            type_,
            "static_params[0] must be a dict",
        ),
        "page static value": (
            lambda c: c.page("/[id]", static_params=[{"id": 1}])(job),
            type_,
            'static_params[0]["id"] must be a str or a list of str; got 1',
        ),
        "page static name": (lambda c: c.page("/[id]", static_params=[{"no": "1"}])(job), invalid, "no"),
        "page tags text": (lambda c: c.page("/x", tags="abc")(job), type_, "tags must be a list of str; got 'abc'"),
        "page tag": (lambda c: c.page("/x", tags=["a\n"])(job), libisr.InvalidTag, "a"),
        "page tag type": (lambda c: c.page("/x", tags=[1])(job), type_, "an item of tags must be a str; got 1"),
        "page query": (lambda c: c.page("/x", query=5)(job), type_, "query must be a list of str; got 5"),
        "page vary": (lambda c: c.page("/x", vary=["a"])(job), type_, "vary must be a dict of str to str"),
        "revalidate_path type": (lambda c: c.revalidate_path(5), type_, "paths must be a str or a list of str; got 5"),
        "revalidate_path item": (lambda c: c.revalidate_path(["/", 5]), type_, "an item of paths must be a str"),
        "revalidate_path bytes": (lambda c: c.revalidate_path(b"/"), type_, "paths must be a str or a list of str"),
        "revalidate_path kind": (lambda c: c.revalidate_path("/", "all"), invalid, "got 'all'"),
        "revalidate_path kind type": (lambda c: c.revalidate_path("/", 1), type_, "type must be a str; got 1"),
        "revalidate_path pattern": (lambda c: c.revalidate_path("/[id]"), invalid, "/[id]"),
        "revalidate_tag": (lambda c: c.revalidate_tag(None), type_, "tags must be a str or a list of str; got None"),
        "revalidate_tag empty": (lambda c: c.revalidate_tag(""), libisr.InvalidTag, "tag"),
        "revalidate_tag soft": (lambda c: c.revalidate_tag("t", soft=1), type_, "soft must be a bool"),
        "revalidate_tag expire": (lambda c: c.revalidate_tag("t", expire=5), invalid, "expire"),
        "remove": (lambda c: c.remove(5), type_, "paths must be a str or a list of str"),
        "remove path": (lambda c: c.remove(["x"]), libisr.InvalidPath, "x"),
        "put page": (lambda c: c.put("/", 5, 1), type_, "page must be str, bytes or a libisr.Result; got 5"),
        "put started": (lambda c: c.put("/", "x", -1), invalid, "started must be what `started()` gave; got -1"),
        "put started type": (lambda c: c.put("/", "x", "1"), type_, "started must be an int; got '1'"),
        "prerender": (lambda c: c.prerender(5), type_, "progress must be a function; got 5"),
        "prerender async": (lambda c: c.prerender(_coroutine), type_, "progress must be a plain function, not async"),
        "data key": (lambda c: c.data(5, lambda: 1), type_, "key must be a str or a list of str; got 5"),
        "data no key": (lambda c: c.data([], lambda: 1), invalid, "empty list"),
        "data load": (lambda c: c.data("k", 5), type_, "load must be a function without arguments; got 5"),
        "data async": (lambda c: c.data("k", _coroutine), type_, "use adata"),
        "data tags": (lambda c: c.data("k", lambda: 1, tags="t"), type_, "tags must be a list of str; got 't'"),
        "data revalidate": (lambda c: c.data("k", lambda: 1, revalidate="1"), type_, "revalidate must be a number"),
        "draft_token": (lambda c: c.draft_token("1h"), type_, "valid_for must be a number"),
        "draft_token never": (lambda c: c.draft_token(None), invalid, "never"),
        "verify_draft": (lambda c: c.verify_draft(b"x"), type_, "token must be a str; got b'x'"),
        "close": (lambda c: c.close("1"), type_, "timeout must be a number"),
        "close negative": (lambda c: c.close(-1), invalid, "timeout"),
        "advance": (lambda c: module.ManualClock().advance("1"), type_, "by must be a number"),
        "advance back": (lambda c: module.ManualClock().advance(-1), invalid, "got -1"),
        "advance never": (lambda c: module.ManualClock().advance(None), invalid, "never"),
        "clock start": (lambda c: module.ManualClock("x"), type_, "start must be a number of seconds"),
        "clock nan": (lambda c: module.ManualClock(float("nan")), invalid, "start"),
        "set_wall": (lambda c: module.ManualClock().set_wall(-1), invalid, "to must be 0 to 1e10"),
        "result body": (lambda c: module.Result(5), type_, "body must be str or bytes; got 5"),
        "result view": (
            lambda c: module.Result(memoryview(b"abcd").cast("i")),
            invalid,
            "body must be a view of bytes",
        ),
        "result status": (lambda c: module.Result("x", "200"), type_, "status must be an int; got '200'"),
        "result status range": (lambda c: module.Result("x", 99), invalid, "three digits; got 99"),
        "result status true": (lambda c: module.Result("x", True), type_, "status must be an int; got True"),
        "result headers": (lambda c: module.Result("x", 200, "a: b"), type_, "headers must be a dict"),
        "result header": (lambda c: module.Result("x", 200, {"a": 1}), type_, 'headers["a"] must be a str; got 1'),
        "result pair": (lambda c: module.Result("x", 200, ["a"]), type_, "an item of headers must be a pair of str"),
        "result no_store": (lambda c: module.Result("x", no_store="y"), type_, "no_store must be a bool"),
        "result redirect": (lambda c: module.redirect(5), type_, "to must be a str; got 5"),
        "result redirect status": (lambda c: module.redirect("/", 200), invalid, "307 or 308; got 200"),
        "result redirect type": (lambda c: module.redirect("/", "308"), type_, "status must be an int; got '308'"),
        "result redirect true": (lambda c: module.redirect("/", True), type_, "status must be an int; got True"),
        "result redirect headers": (lambda c: module.redirect("/", headers="a"), type_, "headers must be a dict"),
        "result redirect twice": (lambda c: module.redirect("/", headers={"Location": "/"}), invalid, "location"),
        "cache unknown": (lambda c: module.Cache(size=1), invalid, 'unknown option "size"; known are deployment'),
        "cache unknown clock": (lambda c: module.Cache(size=1), invalid, "durable, name, on_trouble, clock"),
        "cache threads": (lambda c: module.Cache(threads=0), invalid, "threads"),
        "cache regenerations": (lambda c: module.Cache(max_regenerations=0), invalid, "max_regenerations"),
        "cache per tag": (
            lambda c: module.Cache(max_regenerations_per_tag="1"),
            type_,
            "max_regenerations_per_tag must be a whole number (int), or None for no limit; got '1'",
        ),
        "cache early": (
            lambda c: module.Cache(early_refresh=-1),
            invalid,
            "early_refresh must be a number from 0 to 100",
        ),
        "page concurrent": (lambda c: c.page("/x", max_concurrent=0)(job), invalid, "max_concurrent"),
        "page early": (lambda c: c.page("/x", early_refresh=101)(job), invalid, "0 to 100; got 101"),
        "page early type": (lambda c: c.page("/x", early_refresh=None)(job), type_, "early_refresh must be a number"),
        "cache jitter": (lambda c: module.Cache(backoff_jitter=2), invalid, "backoff_jitter"),
        "cache type": (
            lambda c: module.Cache(max_bytes=object),
            type_,
            "max_bytes must be a whole number (int); got <",
        ),
        "cache true": (
            lambda c: module.Cache(max_bytes=True),
            type_,
            "max_bytes must be a whole number (int); got True",
        ),
        "cache half": (lambda c: module.Cache(max_bytes=1.5), invalid, "max_bytes must be a whole number"),
        "cache text": (lambda c: module.Cache(deployment=None), type_, "deployment must be a str; got None"),
        "cache lifetime": (
            lambda c: module.Cache(default_expire=True),
            type_,
            "default_expire must be a number of seconds (int, float or timedelta), or None or False for never; got T",
        ),
        "cache statuses": (
            lambda c: module.Cache(storable_statuses=None),
            type_,
            "storable_statuses must be a list of int; got None (NoneType)",
        ),
        "cache status": (
            lambda c: module.Cache(storable_statuses=["200"]),
            type_,
            "an item of storable_statuses must be int",
        ),
        "cache codings": (
            lambda c: module.Cache(precompress="br"),
            type_,
            "precompress must be a list of str; got 'br'",
        ),
        "cache fraction": (
            lambda c: module.Cache(backoff_jitter="1"),
            type_,
            "backoff_jitter must be a number (int or",
        ),
        "cache list": (lambda c: module.Cache(precompress=[b"gzip"]), type_, "an item of precompress"),
        "cache coding": (lambda c: module.Cache(precompress=["lzma"]), invalid, "lzma"),
        "cache secret": (lambda c: module.Cache(draft_secret="short"), invalid, "16 bytes"),
        "cache clock": (lambda c: module.Cache(clock=5), type_, "clock must be a ManualClock or None; got 5"),
        "cache positional": (lambda c: module.Cache(5), type_, "positional"),
    }
    return calls


async def _coroutine() -> int:
    return 1


@pytest.mark.parametrize("name", wrong_calls())
def test_wrong_arguments(cache: libisr.Cache, name: str) -> None:
    cache.page("/")(lambda job: "x")
    call, error, says = wrong_calls()[name]
    with pytest.raises(error) as caught:
        call(cache)
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert cache.get("/").cache == "miss", "the call has changed something"


def test_arguments_of_head(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: "x")
    head: Any = cache.get("/").head
    assert bytes(head("get").body) == b"x"
    assert bytes(head("head").body) == b""
    assert head("Head").content_length == 1
    with pytest.raises(libisr.InvalidArgument, match='method must be "GET" or "HEAD"; got "POST"'):
        head("POST")
    with pytest.raises(TypeError, match="method must be a str; got 5"):
        head(5)
    with pytest.raises(TypeError, match="if_none_match must be a str; got 5"):
        head("GET", 5)
    with pytest.raises(TypeError, match="accept_encoding must be a str; got b'br'"):
        head("GET", None, b"br")


def test_progress_that_raises_does_not_stop_the_prerender(cache: libisr.Cache) -> None:
    # What would go to `sys.unraisablehook` fails the test.
    cache.page("/[id]", static_params=[{"id": str(i)} for i in range(20)])(lambda job: "x")
    calls: list[str] = []

    def progress(p: libisr.PrerenderProgress) -> None:
        calls.append(p.path)
        raise ValueError(f"broken at {p.path}")

    with pytest.raises(ValueError, match=r"^broken at") as caught:
        cache.prerender(progress)
    assert str(caught.value) == f"broken at {calls[0]}"
    assert len(calls) == 20
    assert cache.stats()["renders"] == 20
    assert cache.prerender().skipped == 20
