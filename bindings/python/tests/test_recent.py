"""Recent hits are answered without a look-up in the core, and nobody can tell but by the time it takes."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import libisr
import libisr.asgi
import pytest


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
