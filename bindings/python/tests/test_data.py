"""Data entries: values, tags, lifetimes, sharing."""

from __future__ import annotations

import threading
from typing import Any

import libisr
import pytest
from conftest import settle


def test_in_a_render(cache: libisr.Cache) -> None:
    loads = []

    def load() -> dict[str, Any]:
        loads.append(1)
        return {"title": "é", "n": [1, None, True, 0.5]}

    @cache.page("/[id]", revalidate=60, tags=["page"])
    def page(job: libisr.Job) -> str:
        value = job.data(["post", "1"], load, tags=["post:1"], revalidate=10)
        assert value == {"title": "é", "n": [1, None, True, 0.5]}
        return value["title"]  # type: ignore[no-any-return]

    page_ = cache.get("/1").page
    assert page_.revalidate == 10
    assert sorted(page_.tags) == ["page", "post:1"]
    cache.get("/2")
    assert loads == [1]
    cache.revalidate_tag("post:1")
    assert cache.get("/1").cache == "revalidated"
    assert loads == [1, 1]


def test_outside_of_a_render(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    values = iter([1, 2])

    def read() -> libisr.DataAnswer:
        return cache.data_answer("k", lambda: next(values), revalidate=10)

    assert read() == (1, "miss")
    assert read() == (1, "hit")
    clock.advance(11)
    assert read() == (1, "stale")
    settle(cache)
    assert read() == (2, "hit")
    assert cache.data("k", lambda: 3) == 2


def test_stored_as_json_text_or_as_bytes(cache: libisr.Cache) -> None:
    cache.data("json", lambda: {"a": "é"})
    assert cache.data("json", lambda: b"", raw=True) == '{"a":"é"}'.encode()
    cache.data("raw", lambda: b"\x00\x01", raw=True)
    assert cache.data("raw", lambda: b"", raw=True) == b"\x00\x01"
    with pytest.raises(libisr.InvalidArgument, match="no JSON; read it with raw=True"):
        cache.data("raw", lambda: 1)


def test_keys_are_lists(cache: libisr.Cache) -> None:
    assert cache.data(["a", "b"], lambda: 1) == 1
    assert cache.data(["a,b"], lambda: 2) == 2
    assert cache.data("a,b", lambda: 3) == 2


def test_nested_entries_hide_nothing(cache: libisr.Cache) -> None:
    def outer(job: libisr.Job) -> str:
        return job.data("outer", lambda: job.data("inner", lambda: "v", tags=["inner"], revalidate=5))

    cache.page("/[id]", revalidate=60)(outer)
    cache.get("/1")
    second = cache.get("/2").page
    assert second.tags == ["inner"]
    assert second.revalidate == 5


def test_a_failing_load(cache: libisr.Cache) -> None:
    def load() -> str:
        raise LookupError("down")

    @cache.page("/strict")
    def strict(job: libisr.Job) -> str:
        return job.data("k", load)

    @cache.page("/lenient")
    def lenient(job: libisr.Job) -> str:
        try:
            return job.data("k", load)
        except libisr.RenderError as error:
            assert isinstance(error.__cause__, LookupError)
            return "instead"

    with pytest.raises(libisr.RenderError, match="down") as caught:
        cache.get("/strict")
    inner = caught.value.__cause__
    assert isinstance(inner, libisr.RenderError)
    assert isinstance(inner.__cause__, LookupError)
    assert bytes(cache.get("/lenient").body) == b"instead"
    with pytest.raises(libisr.RenderError, match="LookupError: down"):
        cache.data("k", load)


def test_a_load_that_would_wait_for_itself(cache: libisr.Cache) -> None:
    def load() -> str:
        return cache.data("k", load)

    with pytest.raises(libisr.RenderError, match="wait for itself"):
        cache.data("k", load)


def test_what_is_no_value(cache: libisr.Cache) -> None:
    for value in (object(), float("nan"), {1j: 1}, "\ud800"):
        with pytest.raises(libisr.RenderError):
            cache.data("k", lambda value=value: value)  # type: ignore[misc]
    with pytest.raises(libisr.RenderError, match="must be bytes; got 'text'"):
        cache.data("k", lambda: "text", raw=True)  # type: ignore[call-overload]


def test_one_load_for_many_threads(cache: libisr.Cache) -> None:
    loads = []
    gate = threading.Event()

    def load() -> int:
        loads.append(1)
        gate.wait(20)
        return 7

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(cache.data("k", load))) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(20)
    assert results == [7] * 8
    assert loads == [1]
