"""Caches of one process that have one name: one cache with several owners."""

from __future__ import annotations

import threading

import libisr
import pytest


def open_cache(name: str, who: str) -> libisr.Cache:
    cache = libisr.Cache(name=name)

    @cache.page("/[id]", tags=["t"])
    def page(job: libisr.Job) -> str:
        return f"{job.params['id']} of {who}"

    return cache


def answer(cache: libisr.Cache, path: str) -> tuple[str, str]:
    got = cache.get(path)
    return got.cache, bytes(got.body).decode()


def test_they_share_pages_invalidations_and_counters() -> None:
    with open_cache("shares", "a") as a, open_cache("shares", "b") as b:
        assert answer(a, "/1") == ("miss", "1 of a")
        assert answer(b, "/1") == ("hit", "1 of a")
        b.revalidate_tag("t")
        assert answer(a, "/1") == ("revalidated", "1 of a")
        assert a.stats() == b.stats()
        a.close()
        assert answer(b, "/1") == ("hit", "1 of a")
        assert answer(b, "/2") == ("miss", "2 of b")
    with open_cache("shares", "c") as c:
        assert answer(c, "/1") == ("miss", "1 of c")


def test_who_waits_for_one_that_closes_renders_for_himself() -> None:
    begun, go_on = threading.Event(), threading.Event()
    with libisr.Cache(name="closes") as a, open_cache("closes", "b") as b:

        @a.page("/[id]", tags=["t"])
        def held(job: libisr.Job) -> str:
            begun.set()
            assert go_on.wait(20)
            return "late"

        of_a: list[object] = []

        def ask() -> None:
            try:
                a.get("/1")
            except libisr.Closed as error:
                of_a.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert begun.wait(20)
        answers: list[tuple[str, str]] = []
        waiting = threading.Thread(target=lambda: answers.append(answer(b, "/1")))
        waiting.start()
        assert not a.close(timeout=0)
        waiting.join(20)
        thread.join(20)
        assert answers == [("miss", "1 of b")]
        assert len(of_a) == 1
        go_on.set()


def test_what_is_shared_is_opened_alike() -> None:
    with libisr.Cache(name="alike") as cache:
        cache.page("/", revalidate=1)(lambda job: "x")
        with pytest.raises(libisr.Conflict, match=r"^threads must be the same"):
            libisr.Cache(name="alike", threads=3)
        with libisr.Cache(name="alike") as same, pytest.raises(libisr.Conflict, match=r'^revalidate of "/"'):
            same.page("/", revalidate=2)(lambda job: "x")
    with pytest.raises(libisr.InvalidArgument, match=r"^name must not be empty"):
        libisr.Cache(name="")
    with pytest.raises(TypeError, match=r"^name must be a str"):
        libisr.Cache(name=1)  # type: ignore[arg-type]
