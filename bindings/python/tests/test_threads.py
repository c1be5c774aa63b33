"""Many threads, with renders and loads that call back: nothing dead-locks, and one render serves all."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import libisr


def test_one_render_for_many_threads(cache: libisr.Cache) -> None:
    begun = []
    all_ask = threading.Barrier(33)

    @cache.page("/")
    def page(job: libisr.Job) -> str:
        begun.append(1)
        all_ask.wait(20)
        return "x"

    def ask(waits: bool) -> bytes:
        if waits:
            # The render goes on when all are on their way.
            all_ask.wait(20)
        return bytes(cache.get("/").body)

    with ThreadPoolExecutor(33) as pool:
        futures = [pool.submit(ask, i > 0) for i in range(33)]
        assert {future.result(20) for future in futures} == {b"x"}
    assert begun == [1]


def test_sync_and_async_together() -> None:
    """Readers, editors and two loops at once, all under the GIL: everything ends."""
    with libisr.Cache(threads=4, backoff_jitter=0) as cache:

        @cache.page("/sync/[id]", revalidate=0.001, tags=["all"])
        def sync_page(job: libisr.Job) -> str:
            part = job.data(["part", job.params["id"]], lambda: job.params["id"], tags=["data"], revalidate=0.001)
            return f"{part}{bytes(cache.get('/leaf').body).decode()}"

        @cache.page("/async/[id]", revalidate=0.001, tags=["all"])
        async def async_page(job: libisr.Job) -> str:
            async def load() -> str:
                await asyncio.sleep(0)
                return str(job.params["id"])

            part = await job.adata(["apart", job.params["id"]], load, tags=["data"], revalidate=0.001)
            return f"{part}{bytes((await cache.aget('/leaf')).body).decode()}"

        @cache.page("/leaf", revalidate=0.001)
        def leaf(job: libisr.Job) -> str:
            return "!"

        def reader(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(60):
                i = choose.randrange(5)
                path = choose.choice([f"/sync/{i}", f"/async/{i}"])
                assert bytes(cache.get(path).body) == f"{i}!".encode()

        def editor(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(60):
                match choose.randrange(4):
                    case 0:
                        cache.revalidate_tag("all")
                    case 1:
                        cache.revalidate_tag("data", soft=True)
                    case 2:
                        cache.revalidate_path("/", "layout")
                    case 3:
                        cache.remove(f"/sync/{choose.randrange(5)}")

        async def areader(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(30):
                i = choose.randrange(5)
                path = choose.choice([f"/sync/{i}", f"/async/{i}"])
                answers = await asyncio.gather(*(cache.aget(path) for _ in range(3)))
                assert {bytes(a.body) for a in answers} == {f"{i}!".encode()}

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(reader, seed) for seed in range(4)]
            jobs += [pool.submit(editor, seed) for seed in range(2)]
            jobs += [pool.submit(asyncio.run, areader(seed)) for seed in range(2)]
            done, pending = wait(jobs, 60)
            assert not pending
            for job in done:
                job.result()


def test_more_hung_renders_than_threads(clock: libisr.ManualClock) -> None:
    with libisr.Cache(clock=clock, threads=2) as cache:
        gate = threading.Event()
        begun = threading.Semaphore(0)

        @cache.page("/hung/[id]", timeout=5)
        def hung(job: libisr.Job) -> str:
            begun.release()
            gate.wait(20)
            return "late"

        cache.page("/good")(lambda job: "good")

        def ask(i: int) -> BaseException | None:
            try:
                cache.get(f"/hung/{i}")
            except libisr.IsrError as error:
                return error
            return None

        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(ask, i) for i in range(2)]
            for _ in waiting:
                assert begun.acquire(timeout=20)
            clock.advance(6)
            assert all(isinstance(future.result(20), libisr.RenderTimeout) for future in waiting)
        assert bytes(cache.get("/good").body) == b"good"
        gate.set()


def test_renders_that_wait_for_others_give_their_thread_away(clock: libisr.ManualClock) -> None:
    with libisr.Cache(clock=clock, threads=1) as cache:

        @cache.page("/[n]")
        def page(job: libisr.Job) -> str:
            n = int(job.params["n"])
            return "0" if n == 0 else bytes(cache.get(f"/{n - 1}").body).decode() + str(n)

        assert bytes(cache.get("/9").body) == b"0123456789"
