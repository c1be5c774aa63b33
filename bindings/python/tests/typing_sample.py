"""What a user writes, checked by `mypy --strict`; it is not run."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TypedDict, assert_type

import libisr
import libisr.asgi
import libisr.wsgi


class Post(TypedDict):
    title: str


def load_post() -> Post:
    return {"title": "t"}


async def aload_post() -> Post:
    return {"title": "t"}


def tell(error: libisr.StoreError) -> None:
    assert_type(error.http_status, int)


libisr.Cache(directory="cache", max_disk_bytes=1 << 30, durable=True, on_trouble=tell).close()
libisr.Cache(directory=Path("cache"), on_trouble=None).close()

with libisr.Cache(clock=libisr.ManualClock(0), default_revalidate=timedelta(minutes=1), threads=4) as cache:

    @cache.page("/blog/[id]", revalidate=60, tags=["blog"], static_params=[{"id": "1"}, {"id": ["a", "b"]}])
    def post(job: libisr.Job) -> str:
        row = job.data(["post", job.params["id"]], load_post, tags=["post"])
        assert_type(row, Post)
        assert_type(job.data("raw", lambda: b"", raw=True), bytes)
        return row["title"]

    @cache.page("/live", revalidate=None, expire=False, dynamic_params=False)
    async def live(job: libisr.Job) -> libisr.Result:
        row = await job.adata("post", aload_post)
        assert_type(row, Post)
        if job.reason == "stale" and job.previous is not None:
            return libisr.Result(job.previous.body, job.previous.status)
        return libisr.redirect("/blog/1") if row["title"] else libisr.not_found("gone")

    @cache.page("/deferred", deferred=True)
    def deferred(job: libisr.Job) -> None:
        job.complete(libisr.Result("x", headers={"content-type": "text/plain"}, tags=["t"]))

    assert_type(post(None), str)  # type: ignore[arg-type]

    answer = cache.get("/blog/1", variant={"lang": "en"})
    assert_type(answer, libisr.Answer)
    assert_type(answer.body, memoryview)
    assert_type(answer.cache, libisr.CacheWord)
    status, headers, body, content_length = answer.head("GET", if_none_match='"x"')
    assert_type(headers, list[tuple[str, str]])
    assert_type(cache.regenerate("/").cache, libisr.CacheWord)
    assert_type(cache.regenerate("/", only_generated=True), libisr.Answer | None)
    assert_type(cache.try_get("/"), libisr.Answer | None)
    assert_type(cache.peek("/").page, libisr.Page | None)
    assert_type(cache.data("k", load_post), Post)
    assert_type(cache.revalidate_path(["/blog/[id]"], "page"), bool)
    cache.revalidate_tag("blog", soft=True, expire=timedelta(hours=1))

    # Wrong on purpose: the checker must see it.
    cache.get(5)  # type: ignore[arg-type]
    cache.page(post)  # type: ignore[arg-type]
    cache.page("/x", ttl=5)  # type: ignore[call-arg]
    cache.page("/x")(lambda job: 5)  # type: ignore[type-var]
    cache.revalidate_path("/", "all")  # type: ignore[arg-type]
    libisr.Cache(threads="4")  # type: ignore[arg-type]


async def main() -> None:
    async with libisr.Cache() as cache:
        assert_type(await cache.aget("/"), libisr.Answer)
        assert_type(await cache.adata("k", aload_post), Post)
        assert_type(await cache.aregenerate("/"), libisr.Answer)
        assert_type(await cache.aregenerate("/", only_generated=True), libisr.Answer | None)
        assert_type(await cache.aprerender(), libisr.PrerenderReport)


application: libisr.wsgi.App = libisr.wsgi.ISR(cache)
app: libisr.asgi.App = libisr.asgi.ISR(cache, fallback=libisr.asgi.ISR(cache))
waiting: Awaitable[libisr.Answer] = cache.aget("/")
