"""Async pages where no event loop runs: the cache has one of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import libisr
import pytest
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


def test_what_a_closing_loop_was_given_is_not_lost(cache: libisr.Cache) -> None:
    @cache.page("/[id]", tags=["t"])
    async def page(job: libisr.Job) -> str:
        await asyncio.sleep(0)
        return job.reason

    async def main() -> None:
        for n in range(20):
            await cache.aget(f"/{n}")
        cache.revalidate_tag("t", soft=True)
        for n in range(20):
            await cache.aget(f"/{n}")
        # The renders in the background reach the loop while it ends.

    for _ in range(10):
        asyncio.run(main())
        settle(cache)
    assert bytes(cache.get("/0").body) == b"stale"


class Gate:
    """A render that waits for ever on its first loops, and says where it has begun."""

    def __init__(self, cache: libisr.Cache, hang: int) -> None:
        self.threads: list[str] = []
        self._hang = hang
        self._cache = cache
        cache.page("/", revalidate=60)(self)

    async def __call__(self, job: libisr.Job) -> str:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) <= self._hang:
            await asyncio.Event().wait()
        return f"run {len(self.threads)}"

    async def ask_and_leave(self) -> None:
        """Ends the loop while the render runs on it."""
        before = len(self.threads)
        asking = asyncio.ensure_future(self._cache.aget("/"))
        while len(self.threads) == before:
            await asyncio.sleep(0)
        assert not asking.done()


def test_a_render_outlives_its_loop(cache: libisr.Cache) -> None:
    gate = Gate(cache, hang=1)
    asyncio.run(gate.ask_and_leave())

    async def ask() -> libisr.Answer:
        return await cache.aget("/")

    assert bytes(asyncio.run(ask()).body) == b"run 2"
    assert gate.threads == ["MainThread", "libisr-loop"]
    assert (cache.stats()["renders"], cache.stats()["render_failures"]) == (1, 0)


def test_a_render_moves_to_a_loop_that_waits(cache: libisr.Cache) -> None:
    gate = Gate(cache, hang=1)
    waits = threading.Event()
    answers: list[bytes] = []

    async def ask() -> None:
        asking = asyncio.ensure_future(cache.aget("/"))
        await asyncio.sleep(0)
        waits.set()
        answers.append(bytes((await asking).body))

    async def leave() -> None:
        await gate.ask_and_leave()
        other.start()
        assert waits.wait(20)

    other = threading.Thread(target=asyncio.run, args=(ask(),), name="other")
    asyncio.run(leave())
    other.join(20)
    assert not other.is_alive()
    assert answers == [b"run 2"]
    assert gate.threads == ["MainThread", "other"]


def test_a_load_outlives_its_loop(cache: libisr.Cache) -> None:
    threads = []

    async def load() -> str:
        threads.append(threading.current_thread().name)
        if len(threads) == 1:
            await asyncio.Event().wait()
        return "v"

    async def leave() -> None:
        asking = asyncio.ensure_future(cache.adata("k", load))
        while not threads:
            await asyncio.sleep(0)
        assert not asking.done()

    async def ask() -> str:
        return await cache.adata("k", load)

    asyncio.run(leave())
    assert asyncio.run(ask()) == "v"
    assert threads == ["MainThread", "libisr-loop"]


def test_a_task_that_is_cancelled_before_it_begins(cache: libisr.Cache) -> None:
    gate = Gate(cache, hang=0)

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        asking = asyncio.ensure_future(cache.aget("/"))
        spawned = asyncio.Event()

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            task = asyncio.Task(coroutine, loop=loop, **options)
            task.cancel()
            spawned.set()
            return task

        loop.set_task_factory(factory)
        await spawned.wait()
        loop.set_task_factory(None)
        assert bytes((await asking).body) == b"run 1"

    asyncio.run(leave())
    assert gate.threads == ["libisr-loop"]


def test_a_render_that_cancels_itself_does_not_run_for_ever(cache: libisr.Cache) -> None:
    runs = []

    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        runs.append(threading.current_thread().name)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return "never"

    async def ask() -> None:
        with pytest.raises(libisr.RenderError, match="the event loop that ran it has ended"):
            await cache.aget("/")

    asyncio.run(ask())
    assert runs == ["MainThread", "libisr-loop", "libisr-loop"]


def test_a_loop_that_ends_after_the_cache_is_closed(clock: libisr.ManualClock) -> None:
    cache = libisr.Cache(clock=clock)
    gate = Gate(cache, hang=9)

    async def leave() -> None:
        await gate.ask_and_leave()
        assert await cache.aclose(0) is False

    asyncio.run(leave())
    assert gate.threads == ["MainThread"]
    assert "libisr-loop" not in {thread.name for thread in threading.enumerate()}


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
