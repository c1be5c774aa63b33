"""A directory: what is kept over a restart, shared with other processes, and who is told of its trouble."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import libisr
import pytest
from conftest import until


def open_cache(directory: str | os.PathLike[str], **options: Any) -> libisr.Cache:
    cache = libisr.Cache(directory=directory, **options)

    @cache.page("/[id]", tags=["t"])
    def page(job: libisr.Job) -> str:
        return f"{job.params['id']} of {os.getpid()}"

    return cache


def test_a_restart_keeps_pages_data_and_invalidations(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "by the cache \xe9"
    with open_cache(directory) as cache:
        first = bytes(cache.get("/1").body)
        cache.get("/2")
        assert cache.data("k", lambda: [1, "value"]) == [1, "value"]
        cache.revalidate_path("/2")
        assert cache.stats()["disk_writes"] == 3
        assert cache.stats()["disk_bytes"] > 0
    with open_cache(str(directory)) as cache:
        answer = cache.get("/1")
        assert (answer.cache, bytes(answer.body)) == ("hit", first)
        assert cache.stats()["disk_reads"] == 1
        assert cache.get("/2").cache == "revalidated"
        assert cache.data("k", lambda: "never loaded") == [1, "value"]


def test_a_directory_is_text_or_a_path(tmp_path: Path) -> None:
    for wrong in (b"/bytes", 1, ["/list"]):
        with pytest.raises(TypeError, match=r"^directory must be a str or an os\.PathLike"):
            libisr.Cache(directory=wrong)  # type: ignore[arg-type]
    with pytest.raises(libisr.InvalidArgument, match="directory"):
        libisr.Cache(directory="")
    file = tmp_path / "file"
    file.write_text("not a directory")
    for no_directory in (file, file / "below"):
        with pytest.raises(libisr.InvalidArgument, match=r"^directory must name a directory; got"):
            libisr.Cache(directory=no_directory)
    with pytest.raises(TypeError, match=r"^durable must be a bool"):
        libisr.Cache(directory=tmp_path, durable=1)  # type: ignore[arg-type]
    # What the file system takes need not be Unicode.
    with open_cache(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), on_trouble=pytest.fail) as cache:
        cache.get("/1")
        assert cache.stats()["disk_writes"] == 1


OTHER = """
import os, sys, libisr
cache = libisr.Cache(directory=sys.argv[1])

@cache.page("/[id]", tags=["t"])
def page(job):
    return f"{job.params['id']} of {os.getpid()}"

for line in sys.stdin:
    word, argument = line.split()
    if word == "get":
        answer = cache.get(argument)
        print(answer.cache, bytes(answer.body).decode(), flush=True)
    else:
        cache.revalidate_tag(argument)
        print("done", flush=True)
"""


def test_processes_share_pages_and_invalidations(tmp_path: Path) -> None:
    with (
        open_cache(tmp_path) as cache,
        subprocess.Popen(
            [sys.executable, "-c", OTHER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):

        def ask(line: str) -> str:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write(line + "\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        mine = bytes(cache.get("/1").body).decode()
        assert ask("get /1") == f"hit {mine}"
        assert ask("get /2") == f"miss 2 of {other.pid}"
        answer = cache.get("/2")
        assert (answer.cache, bytes(answer.body).decode()) == ("hit", f"2 of {other.pid}")
        assert ask("tag t") == "done"
        assert cache.get("/1").cache == "revalidated"
        assert ask("get /1") == f"hit {mine}"
        cache.revalidate_tag("t")
        assert ask("get /2") == f"revalidated 2 of {other.pid}"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A directory that is refused: others may write to what is in it."""
    path = tmp_path / "bad"
    (path / "v1").mkdir(parents=True)
    (path / "v1").chmod(0o777)
    return path


def test_trouble_is_logged_and_memory_goes_on(bad: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "libisr"), open_cache(bad) as cache:
        assert cache.get("/1").cache == "miss"
        assert cache.get("/1").cache == "hit"
        until(lambda: bool(caplog.records))
        assert cache.stats()["disk_errors"] > 0
    [record] = caplog.records
    assert (record.name, record.levelno) == ("libisr", logging.WARNING)
    assert str(bad) in record.getMessage()


def test_trouble_is_told_on_a_thread_that_may_call_the_cache(bad: Path) -> None:
    told: list[tuple[libisr.StoreError, int]] = []
    opened = threading.Event()
    caches: list[libisr.Cache] = []

    def on_trouble(error: libisr.StoreError) -> None:
        assert opened.wait(20)
        assert caches[0].get("/1").status == 200
        told.append((error, threading.get_ident()))

    with open_cache(bad, on_trouble=on_trouble) as cache:
        caches.append(cache)
        opened.set()
        until(lambda: bool(told))
    [(error, thread)] = told
    assert thread != threading.get_ident()
    assert isinstance(error, libisr.StoreError)
    assert (error.kind, error.code, error.http_status) == ("store", 12, 500)
    assert str(bad) in str(error)


def test_what_on_trouble_raises_is_logged(bad: Path, caplog: pytest.LogCaptureFixture) -> None:
    def on_trouble(error: libisr.StoreError) -> None:
        raise ValueError("oops")

    with open_cache(bad, on_trouble=on_trouble):
        until(lambda: bool(caplog.records))
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_on_trouble_is_a_function() -> None:
    async def asynchronous(error: libisr.StoreError) -> None: ...

    for wrong in (1, "print", asynchronous):
        with pytest.raises(TypeError, match=r"^on_trouble must be a"):
            libisr.Cache(on_trouble=wrong)  # type: ignore[arg-type]
    libisr.Cache(on_trouble=None).close()


def test_on_trouble_keeps_no_cache_alive() -> None:
    class Owner:
        def __init__(self) -> None:
            self.cache = libisr.Cache(on_trouble=self.on_trouble)

        def on_trouble(self, error: libisr.StoreError) -> None: ...

    dead = weakref.ref(Owner())
    gc.collect()
    assert dead() is None


def test_trouble_is_told_before_the_interpreter_exits(bad: Path) -> None:
    program = "import sys, libisr; cache = libisr.Cache(directory=sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, bad], capture_output=True, text=True, check=True, timeout=30)
    assert str(bad) in done.stderr


def test_who_waits_for_another_process_does_not_hold_the_gil(tmp_path: Path) -> None:
    # The lock of the log, held as another process would.
    program = """
import fcntl, os, struct, sys, threading, time, libisr
cache = libisr.Cache(directory=sys.argv[1])
fd = os.open(sys.argv[1] + "/v1/locks", os.O_RDWR)
def lock(kind):
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi", kind, os.SEEK_SET, 0, 1, 0))
lock(fcntl.F_WRLCK)
thread = threading.Thread(target=cache.revalidate_tag, args=("t",))
thread.start()
thread.join(0.2)
assert thread.is_alive()
lock(fcntl.F_UNLCK)
thread.join(20)
assert not thread.is_alive()
"""
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=30)
