"""What keeps what alive: bodies without a copy, and no leaks."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import libisr
import pytest
from conftest import until


def test_a_body_is_no_copy(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: b"abc" * 1000)
    first, second = cache.get("/"), cache.get("/")
    body = first.body
    assert isinstance(body, memoryview)
    assert body.readonly
    assert (body.format, body.itemsize, body.ndim, body.nbytes) == ("B", 1, 1, 3000)
    assert body.obj is not second.body.obj
    assert _address(body) == _address(second.body) == _address(first.page.body) == _address(first.head().body)
    assert bytes(first.page) == bytes(body)
    with pytest.raises(TypeError):
        body[0] = 1


def _address(view: memoryview) -> int:
    import ctypes

    class Buffer(ctypes.Structure):
        _fields_ = (("buf", ctypes.c_void_p), ("rest", ctypes.c_byte * 120))

    buffer = Buffer()
    assert ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0) == 0
    address = buffer.buf
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    assert isinstance(address, int)
    return address


def test_a_body_outlives_answer_page_and_cache(clock: libisr.ManualClock) -> None:
    cache = libisr.Cache(clock=clock)
    cache.page("/")(lambda job: b"x" * 100_000)
    body = cache.get("/").body
    part = cache.get("/").head().body[10:20]
    cache.remove("/")
    cache.close()
    del cache
    gc.collect()
    assert bytes(body) == b"x" * 100_000
    assert bytes(part) == b"x" * 10


def test_an_empty_body(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: b"")
    answer = cache.get("/")
    assert bytes(answer.body) == bytes(answer.head().body) == b""


def test_bodies_are_readable_from_any_thread(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: b"y" * 10_000)
    body = cache.get("/").body
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(sum(body))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == [10_000 * ord("y")] * 8


def test_a_cache_in_a_cycle_with_its_pages_is_collected() -> None:
    class Target:
        pass

    def use() -> weakref.ref[Target]:
        cache = libisr.Cache()
        held = Target()

        @cache.page("/")
        def page(job: libisr.Job) -> str:
            assert held is not None
            cache.data("k", lambda: 1)
            return "x"

        cache.get("/")
        return weakref.ref(held)

    gone = use()
    until(lambda: gc.collect() >= 0 and gone() is None)


def test_a_cache_that_is_collected_closes() -> None:
    jobs: list[libisr.Job] = []

    def use() -> None:
        cache = libisr.Cache()
        begun = threading.Event()

        @cache.page("/", deferred=True)
        def page(job: libisr.Job) -> None:
            jobs.append(job)
            begun.set()

        async def ask() -> None:
            waiting = asyncio.ensure_future(cache.aget("/"))
            await asyncio.to_thread(begun.wait, 20)
            waiting.cancel()

        asyncio.run(ask())

    use()
    until(lambda: gc.collect() >= 0 and jobs[0].cancelled)
    with pytest.raises(libisr.Finished):
        jobs[0].complete("late")


def test_values_given_to_the_cache_are_let_go(cache: libisr.Cache) -> None:
    class Body(bytearray):
        pass

    body = Body(b"x")
    gone = weakref.ref(body)
    cache.page("/")(lambda job: libisr.Result(b"y"))
    assert cache.put("/", body, cache.started())
    del body
    assert gone() is None


def test_a_job_is_let_go_after_its_render(cache: libisr.Cache) -> None:
    refs: list[weakref.ref[libisr.Job]] = []

    @cache.page("/")
    def page(job: libisr.Job) -> str:
        refs.append(weakref.ref(job))
        job.data("k", lambda: 1)
        return "x"

    cache.get("/")
    until(lambda: refs[0]() is None)
