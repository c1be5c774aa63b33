"""Recent hits are answered without a look-up in the core, and nobody can tell but by the time it takes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import libisr
import libisr.asgi
import pytest
from conftest import run, settle


def pages(cache: libisr.Cache, **options: Any) -> list[str]:
    rendered: list[str] = []

    @cache.page("/[id]", **options)
    def page(job: libisr.Job) -> libisr.Result:
        rendered.append(job.path)
        return libisr.Result(f"{job.path} {len(rendered)}" + "x" * 4000, headers={"content-type": "text/plain"})

    return rendered


def test_hits_are_counted_and_grow_older(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    rendered = pages(cache, revalidate=60)
    for n in range(50):
        answer = cache.get("/1?utm=x") if n % 2 else cache.try_get("/1?utm=x")
        if answer is None:
            continue
        assert (answer.cache, answer.age) == ("hit" if n > 1 else "miss", n - 1)
        assert dict(answer.head().headers).get("age") == str(n - 1)
        assert bytes(answer.body).startswith(b"/1 1x")
        clock.advance(1)
    assert cache.stats()["hits"] == 48
    assert rendered == ["/1"]
    clock.advance(60)
    assert cache.get("/1?utm=x").cache == "stale"


def test_what_ends_a_hit_is_seen_at_once(cache: libisr.Cache) -> None:
    pages(cache, tags=["t"])
    ends = [
        (lambda: cache.revalidate_tag("t"), "revalidated"),
        (lambda: cache.revalidate_path("/1"), "revalidated"),
        (lambda: cache.remove("/1"), "miss"),
    ]
    for end, word in ends:
        cache.get("/1")
        assert [cache.get("/1").cache for _ in range(3)] == ["hit"] * 3
        end()
        assert cache.get("/1").cache == word
    before = cache.get("/1")
    assert bytes(cache.get("/1").body) == bytes(before.body)
    cache.regenerate("/1")
    assert bytes(cache.get("/1").body) != bytes(before.body)
    cache.get("/1")
    cache.close()
    with pytest.raises(libisr.Closed):
        cache.get("/1")


def test_a_call_means_the_same_with_and_without_keywords(cache: libisr.Cache) -> None:
    pages(cache)
    for _ in range(3):
        assert cache.get(path="/1").page.path == cache.get("/1", variant=None, draft=False).page.path == "/1"
    assert cache.get("/1", draft=True).cache == "bypass"
    assert cache.get("/1", variant={"a": "b"}).cache == "miss"
    assert cache.get("/1").cache == "hit"
    for wrong in (
        lambda: cache.get(),
        lambda: cache.get("/1", "x"),
        lambda: cache.get("/1", no=1),
        lambda: cache.get(1),
    ):  # type: ignore[call-arg,call-overload,arg-type]
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError):
        libisr.Cache.get(object(), "/1")  # type: ignore[arg-type]


def test_a_str_of_its_own_kind_is_asked_by_its_text(cache: libisr.Cache) -> None:
    class Odd(str):
        def __hash__(self) -> int:
            raise AssertionError("not to be called")

        def __eq__(self, other: object) -> bool:
            raise AssertionError("not to be called")

    pages(cache)
    for _ in range(3):
        assert cache.get(Odd("/1")).page.path == "/1"
        assert cache.get("/1").cache == "hit"


def test_a_released_body_is_not_given_again(cache: libisr.Cache) -> None:
    pages(cache)
    cache.get("/1")
    for _ in range(3):
        with cache.get("/1").body as body:
            assert bytes(body).startswith(b"/1 1")
    first, second = cache.get("/1").body, cache.get("/1").body
    first.release()
    assert bytes(second).startswith(b"/1 1")


def test_pages_that_are_gone_are_let_go() -> None:
    with libisr.Cache(max_bytes=200_000) as cache:
        pages(cache)
        for n in range(500):
            cache.get(f"/{n}")
            assert cache.get(f"/{n}").cache == "hit"
        gc.collect()
        answers = [o for o in gc.get_objects() if type(o) is dict and any(type(v) is libisr.Answer for v in o.values())]
        assert len(answers) == 1
        held = sum(len(answer.body) for answer in answers[0].values())
        assert held < 300_000


def test_headers_of_a_hit_are_the_receivers_own(cache: libisr.Cache) -> None:
    pages(cache)
    app = libisr.asgi.ISR(cache)
    seen: list[list[tuple[bytes, bytes]]] = []

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            raise AssertionError

        async def send(message: Any) -> None:
            if "headers" in message:
                seen.append(list(message["headers"]))
                message["headers"].clear()

        scope = {"type": "http", "method": "GET", "path": "/1", "query_string": b"", "headers": []}
        for _ in range(4):
            await app(dict(scope), receive, send)

    asyncio.run(ask())
    words = [dict(headers)[b"x-isr-cache"] for headers in seen]
    assert words == [b"MISS", b"HIT", b"HIT", b"HIT"]
    assert seen[1] == seen[2] == seen[3]


def test_an_answer_that_somebody_has_stays_as_it_is(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    pages(cache)
    cache.get("/1")
    mine = cache.get("/1")
    head, body = mine.head().headers, bytes(mine.body)
    for age in range(1, 5):
        clock.advance(1)
        assert cache.get("/1").age == age
    assert (mine.age, mine.head().headers, bytes(mine.body)) == (0, head, body)
    # Nobody has this one: the same object is the next second's answer.
    same = id(cache.get("/1"))
    for age in range(5, 10):
        clock.advance(1)
        assert (id(cache.get("/1")), cache.get("/1").age) == (same, age)
        assert dict(cache.get("/1").head().headers)["age"] == str(age)


def test_more_ends_of_hits_are_seen_at_once(clock: libisr.ManualClock) -> None:
    def warm(path: str) -> None:
        cache.get(path)
        assert [cache.get(path).cache for _ in range(4)] == ["hit"] * 4

    name = "of-test-recent"
    with libisr.Cache(clock=clock, name=name) as cache, libisr.Cache(clock=clock, name=name) as other:
        pages(cache, tags=["t"], revalidate=60)
        warm("/1")
        other.revalidate_tag("t")
        assert cache.get("/1").cache == "revalidated"
        warm("/1")
        cache.revalidate_tag("t", soft=True)
        assert cache.get("/1").cache == "stale"
        settle(cache)
        warm("/1")
        cache.put("/1", "put", cache.started())
        assert bytes(cache.get("/1").body) == b"put"
        warm("/1")
        clock.set_wall(clock.now() - 1000)
        cache.get("/1")
        settle(cache)
        warm("/1")
        cache.page("/1", tags=["t"])(lambda job: "a route of its own")
        assert bytes(cache.get("/1").body) == b"a route of its own"
        warm("/1")
        other.close()
        assert cache.get("/1").cache == "hit"


def kept_by(cache: libisr.Cache) -> dict[str, libisr.Answer]:
    """The dict of recent answers: that which holds this cache's one."""
    answer = cache.get("/0")
    (answers,) = (o for o in gc.get_referrers(answer) if type(o) is dict and any(v is answer for v in o.values()))
    return answers


def test_no_more_answers_are_kept_than_the_memory_for_pages_says() -> None:
    with libisr.Cache(max_bytes=2 << 20) as cache:
        cache.page("/[id]")(lambda job: "x")
        for _ in range(2):
            for n in range(400):
                cache.get(f"/{n}")
                assert cache.get(f"/{n}").cache == "hit"
        assert len(kept_by(cache)) in (256, 257)


def test_many_that_are_gone_are_let_go_in_parts() -> None:
    with libisr.Cache(max_bytes=1 << 26) as cache:
        cache.page("/[id]", tags=["t"])(lambda job: "x")
        for n in range(2000):
            cache.put(f"/{n}", "x", cache.started())
            cache.get(f"/{n}")
        kept = kept_by(cache)
        assert len(kept) == 2000
        for n in range(1000, 2000):
            # Replaced: the store has let go of the pages that answered before.
            cache.put(f"/{n}", "y", cache.started())
        before = len(kept)
        for n in range(2000, 2030):
            cache.put(f"/{n}", "x", cache.started())
            cache.get(f"/{n}")
        assert before == 2000
        assert len(kept) == 1030


def test_a_child_has_hits_of_its_own() -> None:
    run(
        """
@cache.page("/[id]", tags=["t"])
def page(job):
    return str(os.getpid())

def check():
    me = str(os.getpid()).encode()
    assert bytes(cache.get("/1").body) == me
    before = cache.stats()["hits"]
    assert [(cache.get("/1").cache, bytes(cache.get("/1").body)) for _ in range(5)] == [("hit", me)] * 5
    assert cache.stats()["hits"] == before + 10
    cache.revalidate_tag("t")
    assert cache.get("/1").cache == "revalidated"
    assert cache.get("/1").cache == "hit"

check()
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    check()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        check()
        sys.exit(0)
    sys.exit(os.waitpid(pid, 0)[1] != 0)
assert os.waitpid(pid, 0)[1] == 0
check()
"""
    )


ASKS: list[dict[str, Any]] = [
    {},
    {"query_string": b"a=1&b=%20"},
    {"raw_path": b"/1"},
    {"raw_path": b"/1", "query_string": b"utm=x"},
    {"raw_path": b"/1", "query_string": "q=é".encode()},
    {"raw_path": "/é".encode()},
    {"raw_path": b"/1", "method": "HEAD"},
    {"raw_path": b"/1", "headers": [(b"accept-encoding", b"gzip"), (b"host", b"a")]},
    {"raw_path": b"/1", "headers": [(b"accept-encoding", b"gzip"), (b"accept-encoding", b"br")]},
    {"raw_path": b"/1", "headers": [[b"if-none-match", b"*"]]},
    {"raw_path": b"/1", "headers": [(b"if-none-match", b"*")]},
    {"raw_path": b"/1", "headers": ((b"if-none-match", b"*"),)},
    {"raw_path": b"/1", "headers": [(b"if-none-match", b'"no"'), (b"accept-encoding", b"br")]},
    {"raw_path": b"/1", "method": "POST"},
    {"raw_path": b"/a/b"},
]


@pytest.mark.parametrize("asked", ASKS)
def test_asgi_answers_the_same_whether_it_knows_the_request_or_not(
    cache: libisr.Cache, clock: libisr.ManualClock, asked: dict[str, Any]
) -> None:
    pages(cache, revalidate=100)
    known = libisr.asgi.ISR(cache)
    # With a function of the request it always goes the long way.
    long = libisr.asgi.ISR(cache, variant=lambda scope: None)

    async def ask(app: libisr.asgi.ISR) -> list[Any]:
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            raise AssertionError

        async def send(message: Any) -> None:
            messages.append(message)

        await app({"type": "http", "method": "GET", "path": "/1", "headers": [], **asked}, receive, send)
        return messages

    asyncio.run(ask(long))
    for _ in range(3):
        hits = cache.stats()["hits"]
        expected = asyncio.run(ask(long))
        each = cache.stats()["hits"] - hits
        for _ in range(3):
            assert asyncio.run(ask(known)) == expected
        assert cache.stats()["hits"] == hits + 4 * each
        clock.advance(1)


@pytest.mark.parametrize("kind", ["lifespan", "websocket", "other"])
def test_asgi_leaves_other_scopes_to_the_application(cache: libisr.Cache, kind: str) -> None:
    got: list[Any] = []

    async def fallback(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope["type"])

    async def nothing(*args: Any) -> dict[str, Any]:
        raise AssertionError

    app = libisr.asgi.ISR(cache, fallback)
    scope = {"type": kind, "method": "GET", "path": "/1", "raw_path": b"/1", "headers": []}
    asyncio.run(app(scope, nothing, nothing))
    assert got == [kind]
