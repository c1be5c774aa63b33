"""Async pages where no event loop runs: the cache has one of its own."""

from __future__ import annotations

import asyncio
import threading

import libisr
from conftest import settle


def test_get_without_a_loop(cache: libisr.Cache) -> None:
    threads = set()

    @cache.page("/[id]")
    async def page(job: libisr.Job) -> str:
        threads.add(threading.current_thread().name)
        await asyncio.sleep(0)
        return job.path

    assert bytes(cache.get("/1").body) == b"/1"
    assert bytes(cache.get("/2").body) == b"/2"
    assert threads == {"libisr-loop"}


def test_a_loop_that_has_ended_is_not_used(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    threads = []

    @cache.page("/", revalidate=1)
    async def page(job: libisr.Job) -> str:
        threads.append(threading.current_thread().name)
        return job.reason

    async def main() -> None:
        await cache.aget("/")

    asyncio.run(main())
    clock.advance(2)
    assert cache.get("/").cache == "stale"
    settle(cache)
    assert bytes(cache.get("/").body) == b"stale"
    assert threads == ["MainThread", "libisr-loop"]


def test_closing_ends_the_loop() -> None:
    stopped = threading.Event()
    begun = threading.Event()
    cache = libisr.Cache()

    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    waiting = threading.Thread(target=lambda: _closed(cache))
    waiting.start()
    assert begun.wait(20)
    assert cache.close(0) is False
    assert stopped.wait(20)
    waiting.join(20)
    assert not waiting.is_alive()
    assert "libisr-loop" not in {thread.name for thread in threading.enumerate()}


def _closed(cache: libisr.Cache) -> None:
    try:
        cache.get("/")
    except libisr.Closed:
        return
    raise AssertionError("the request was answered")
