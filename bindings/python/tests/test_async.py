"""Pages and data on event loops."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading

import libisr
import pytest

pytestmark = pytest.mark.asyncio


async def test_renders_run_on_the_loop_that_waits(cache: libisr.Cache) -> None:
    @cache.page("/[id]", revalidate=60)
    async def page(job: libisr.Job) -> str:
        await asyncio.sleep(0)
        assert asyncio.get_running_loop() is loop
        return job.path

    loop = asyncio.get_running_loop()
    first = await cache.aget("/1")
    again = await cache.aget("/1")
    assert (first.cache, again.cache, bytes(again.body)) == ("miss", "hit", b"/1")


async def test_a_hit_does_not_yield(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: "x")
    await cache.aget("/")
    coroutine = cache.aget("/")
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value.cache == "hit"


async def test_a_miss_lets_the_loop_go_on(cache: libisr.Cache) -> None:
    gate = threading.Event()

    @cache.page("/")
    def page(job: libisr.Job) -> str:
        assert gate.wait(20)
        return "sync page"

    waiting = asyncio.ensure_future(cache.aget("/"))
    await asyncio.sleep(0)
    gate.set()
    assert bytes((await waiting).body) == b"sync page"


async def test_many_waiters_share_one_render(cache: libisr.Cache) -> None:
    begun = []

    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        begun.append(1)
        await asyncio.sleep(0)
        return "x"

    answers = await asyncio.gather(*(cache.aget("/") for _ in range(100)))
    assert {a.cache for a in answers} == {"miss"}
    assert begun == [1]


async def test_each_loop_renders_what_it_waits_for(cache: libisr.Cache) -> None:
    loops: dict[str, asyncio.AbstractEventLoop] = {}
    entered = threading.Event()

    @cache.page("/[id]")
    async def page(job: libisr.Job) -> str:
        loops[job.path] = asyncio.get_running_loop()
        return job.path

    async def elsewhere() -> asyncio.AbstractEventLoop:
        waiting = asyncio.ensure_future(cache.aget("/there"))
        await asyncio.sleep(0)
        entered.set()
        await waiting
        return asyncio.get_running_loop()

    other = asyncio.get_running_loop().run_in_executor(None, asyncio.run, elsewhere())
    assert entered.wait(20)
    await cache.aget("/here")
    assert loops == {"/here": asyncio.get_running_loop(), "/there": await other}


async def test_background_renders_use_the_last_loop(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    loops = []

    @cache.page("/", revalidate=1)
    async def page(job: libisr.Job) -> str:
        loops.append(asyncio.get_running_loop())
        return job.reason

    await cache.aget("/")
    clock.advance(2)
    assert (await cache.aget("/")).cache == "stale"
    while len(loops) < 2:
        await asyncio.sleep(0)
    assert loops == [asyncio.get_running_loop()] * 2


async def test_the_context_knows_the_render(cache: libisr.Cache) -> None:
    @cache.page("/self")
    async def own(job: libisr.Job) -> str:
        with pytest.raises(libisr.InvalidArgument, match="wait for itself"):
            await cache.aget("/self")
        with pytest.raises(libisr.InvalidArgument, match="wait for itself"):
            # A task of its own carries the context.
            await asyncio.create_task(cache.aget("/self"))
        return "survived"

    @cache.page("/whole")
    async def whole(job: libisr.Job) -> str:
        return f"<{bytes((await cache.aget('/self')).body).decode()}>"

    assert bytes((await cache.aget("/whole")).body) == b"<survived>"


async def test_data(cache: libisr.Cache) -> None:
    loads = []

    async def inner() -> str:
        loads.append("inner")
        await asyncio.sleep(0)
        return "v"

    @cache.page("/[id]", revalidate=60)
    async def page(job: libisr.Job) -> str:
        async def outer() -> str:
            loads.append("outer")
            return await job.adata("inner", inner, tags=["t"], revalidate=5)

        return await job.adata(["outer"], outer)

    pages = [answer.page for answer in await asyncio.gather(*(cache.aget(f"/{i}") for i in range(10)))]
    assert loads == ["outer", "inner"]
    assert {(p.revalidate, *p.tags) for p in pages} == {(5, "t")}
    assert await cache.adata("inner", inner) == "v"
    assert await cache.adata_answer("inner", inner) == ("v", "hit")


async def test_raw_data(cache: libisr.Cache) -> None:
    async def load() -> bytes:
        return b"\x00"

    assert await cache.adata("raw", load, raw=True) == b"\x00"


async def test_stale_data_loads_in_the_background(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    loops = []

    async def load() -> int:
        loops.append(asyncio.get_running_loop())
        return len(loops)

    assert await cache.adata_answer("k", load, revalidate=1) == (1, "miss")
    clock.advance(2)
    assert await cache.adata_answer("k", load, revalidate=1) == (1, "stale")
    while cache.activity().running:
        await asyncio.sleep(0)
    assert await cache.adata_answer("k", load, revalidate=1) == (2, "hit")
    assert loops == [asyncio.get_running_loop()] * 2


async def test_failures(cache: libisr.Cache) -> None:
    @cache.page("/[how]")
    async def page(job: libisr.Job) -> str:
        await asyncio.sleep(0)
        match job.params["how"]:
            case "raise":
                raise ValueError("oops")
            case "exit":
                raise SystemExit("out")
            case "interrupt":
                raise KeyboardInterrupt("stop")
            case "cancel":
                raise asyncio.CancelledError
        return 5  # type: ignore[return-value]

    for path, cause in {
        "/raise": ValueError,
        "/exit": SystemExit,
        "/interrupt": KeyboardInterrupt,
        "/cancel": asyncio.CancelledError,
        "/number": TypeError,
    }.items():
        with pytest.raises(libisr.RenderError) as caught:
            await cache.aget(path)
        assert type(caught.value.__cause__) is cause
    with pytest.raises(libisr.RenderError, match="down"):
        await cache.adata("k", functools.partial(_raise, LookupError("down")))
    with pytest.raises(libisr.NoRoute):
        await cache.aget("/a/b")
    with pytest.raises(libisr.InvalidPath):
        await cache.aregenerate("x")
    with pytest.raises(libisr.InvalidPath):
        await cache.aget("/\ud800")
    with pytest.raises(TypeError, match="path must be a str; got 5"):
        await cache.aget(5)  # type: ignore[arg-type]


async def _raise(error: Exception) -> str:
    raise error


async def test_cancelling_an_await_leaves_the_render_alone(cache: libisr.Cache) -> None:
    gate = asyncio.Event()
    begun = asyncio.Event()

    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        begun.set()
        await gate.wait()
        return "x"

    waiting = asyncio.ensure_future(cache.aget("/"))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    joined = asyncio.ensure_future(cache.aget("/"))
    await asyncio.sleep(0)
    gate.set()
    assert bytes((await joined).body) == b"x"
    assert cache.stats()["renders"] == 1
    assert cache._loops._waiting == {}


async def test_timeouts(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    gate = asyncio.Event()
    begun = asyncio.Event()
    after: list[bool] = []

    @cache.page("/", timeout=10)
    async def page(job: libisr.Job) -> str:
        begun.set()
        await gate.wait()
        after.append(job.cancelled)
        return "late"

    waiting = asyncio.ensure_future(cache.aget("/"))
    await begun.wait()
    clock.advance(10.001)
    with pytest.raises(TimeoutError) as caught:
        await waiting
    assert isinstance(caught.value, libisr.RenderTimeout)
    gate.set()
    while not after:
        await asyncio.sleep(0)
    assert after == [True]
    assert cache.peek("/").state == "missing"


async def test_blocking_calls_on_a_running_loop_are_refused(cache: libisr.Cache) -> None:
    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        with pytest.raises(libisr.InvalidArgument, match=r"await job\.adata"):
            job.data("k", lambda: 1)
        return "x"

    for call in (
        lambda: cache.get("/"),
        lambda: cache.regenerate("/"),
        lambda: cache.prerender(),
        lambda: cache.data("k", lambda: 1),
    ):
        with pytest.raises(libisr.InvalidArgument, match="would block the event loop"):
            call()
    assert bytes((await cache.aget("/")).body) == b"x"
    assert cache.try_get("/") is not None
    # A thread may block: the loop goes on.
    assert (await asyncio.to_thread(cache.get, "/")).cache == "hit"
    assert await asyncio.to_thread(cache.regenerate, "/") is not None


async def test_sync_renders_may_block_on_async_pages(cache: libisr.Cache) -> None:
    @cache.page("/part")
    async def part(job: libisr.Job) -> str:
        await asyncio.sleep(0)
        return "part"

    cache.page("/whole")(lambda job: b"<" + bytes(cache.get("/part").body) + b">")
    assert bytes((await cache.aget("/whole")).body) == b"<part>"


async def test_prerender_and_regenerate(cache: libisr.Cache) -> None:
    @cache.page("/[id]", static_params=[{"id": str(i)} for i in range(20)], revalidate=60)
    async def page(job: libisr.Job) -> str:
        await asyncio.sleep(0)
        return job.reason

    loop = asyncio.get_running_loop()
    seen: list[libisr.PrerenderProgress] = []

    def progress(p: libisr.PrerenderProgress) -> None:
        assert asyncio.get_running_loop() is loop
        seen.append(p)

    report = await cache.aprerender(progress)
    assert report == (20, 0, [])
    assert seen[-1][:4] == (20, 0, 0, 20)
    answer = await cache.aregenerate("/3")
    assert answer is not None
    assert bytes(answer.body) == b"regenerate"
    assert await cache.aregenerate("/99", only_generated=True) is None


async def test_progress_that_raises(cache: libisr.Cache) -> None:
    cache.page("/[id]", static_params=[{"id": str(i)} for i in range(20)])(lambda job: "x")
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    calls: list[str] = []

    def progress(p: libisr.PrerenderProgress) -> None:
        calls.append(p.path)
        raise ValueError(f"broken at {p.path}")

    for _ in ("rendered", "skipped"):
        with pytest.raises(ValueError, match=r"^broken at") as caught:
            await cache.aprerender(progress)
        assert str(caught.value) == f"broken at {calls[0]}"
        assert len(calls) == 20
        assert cache.stats()["renders"] == 20
        calls.clear()
    assert problems == []

    async def wrong(p: libisr.PrerenderProgress) -> None:
        raise AssertionError("it was called")

    with pytest.raises(TypeError, match="progress must be a plain function, not async"):
        await cache.aprerender(wrong)


async def test_deferred(cache: libisr.Cache) -> None:
    @cache.page("/", deferred=True)
    async def page(job: libisr.Job) -> None:
        asyncio.get_running_loop().call_soon(job.complete, "later")

    assert bytes((await cache.aget("/")).body) == b"later"


async def test_async_callables_of_other_kinds(cache: libisr.Cache) -> None:
    class Page:
        async def __call__(self, job: libisr.Job) -> str:
            return "object"

    async def two(prefix: str, job: libisr.Job) -> str:
        return prefix

    cache.page("/object")(Page())
    cache.page("/partial")(functools.partial(two, "partial"))
    assert bytes((await cache.aget("/object")).body) == b"object"
    assert bytes((await cache.aget("/partial")).body) == b"partial"


async def test_closing_waits_for_renders_on_this_loop(clock: libisr.ManualClock) -> None:
    async with libisr.Cache(clock=clock) as cache:
        begun = asyncio.Event()

        @cache.page("/")
        async def page(job: libisr.Job) -> str:
            begun.set()
            for _ in range(5):
                await asyncio.sleep(0)
            with pytest.raises(libisr.InvalidArgument, match="within a render"):
                await cache.aclose()
            return "x"

        waiting = asyncio.ensure_future(cache.aget("/"))
        await begun.wait()
    assert cache.closed
    assert bytes((await waiting).body) == b"x"
    with pytest.raises(libisr.Closed):
        await cache.aget("/")


async def test_a_user_context_does_not_leak_into_a_render(cache: libisr.Cache) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    @cache.page("/")
    async def page(job: libisr.Job) -> str:
        return user.get()

    user.set("alice")
    assert bytes((await cache.aget("/")).body) == b"nobody"
