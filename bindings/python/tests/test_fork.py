"""A cache that is opened, and used, before the process is forked: os.fork, multiprocessing, gunicorn --preload."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from conftest import run

CHILD = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Of fork in a process with threads, from Python 3.12 on.

def in_child(body):
    '''Runs `body` in a child that ends as a program does; a watchdog ends one that hangs.'''
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        body()
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status

def got(answer):
    return answer.cache, bytes(answer.body)

def me():
    return str(os.getpid()).encode()
"""

USED = """
@cache.page("/[id]", static_params=[{"id": "a"}], tags=["t"])
def page(job):
    return str(os.getpid()) + job.data("k", lambda: "")

parent = me()
answer = cache.get("/a")
token = cache.draft_token(60)
assert got(answer) == ("miss", parent)
cache.prerender()
jobs = []
later, loading, load_on = threading.Event(), threading.Event(), threading.Event()

@cache.page("/later/[id]", deferred=True)
def deferred(job):
    jobs.append(job)
    later.set()

result = []
asking = threading.Thread(target=lambda: result.append(got(cache.get("/later/1"))))
asking.start()
assert later.wait(20)

def load():
    loading.set()
    load_on.wait(20)

hung = threading.Thread(target=lambda: cache.data("hung", load))
hung.start()
assert loading.wait(20)

def fails(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(call)

def child():
    assert not cache.closed
    assert bytes(answer.body) == parent
    assert cache.verify_draft(token)
    assert got(cache.get("/a")) == ("miss", me())
    assert got(cache.get("/a")) == ("hit", me())
    cache.revalidate_tag("t")
    assert got(cache.get("/a")) == ("revalidated", me())
    assert cache.peek("/a").state == "fresh"
    assert cache.data("hung", lambda: "not in the child") == "not in the child"
    assert cache.prerender().skipped == 1
    assert cache.stats()["renders"] == 2
    cache.page("/new/[id]")(page)
    assert got(cache.get("/new/1")) == ("miss", me())
    assert jobs[0].cancelled
    fails(libisr.Finished, lambda: jobs[0].data("k", lambda: 1))
    fails(libisr.Finished, lambda: jobs[0].complete("child"))
    jobs.clear()
    in_child(lambda: got(cache.get("/a")) == ("miss", me()) or sys.exit(1))
    assert cache.close()
    fails(libisr.Closed, lambda: cache.get("/a"))
    new = libisr.Cache()
    new.page("/")(lambda job: "another one")
    assert got(new.get("/")) == ("miss", b"another one")
    print("child")

in_child(child)
in_child(lambda: print("not used"))
in_child(lambda: print(cache.close()))
assert got(cache.get("/a")) == ("hit", parent)
jobs[0].complete("parent")
asking.join(20)
assert result == [("miss", b"parent")], result
load_on.set()
hung.join(20)
cache.close()
in_child(lambda: fails(libisr.Closed, lambda: cache.get("/a")))
print("parent")
"""


def test_fork() -> None:
    assert run(CHILD + USED) == "child\nnot used\nTrue\nparent\n"


LOOPS = """
@cache.page("/[id]")
async def page(job):
    await asyncio.sleep(0)
    return str(os.getpid()) + await job.adata("k", load)

async def load():
    await asyncio.sleep(0)
    return ""

async def ask(path):
    return got(await cache.aget(path))

parent = me()
# On the cache's own loop, on a loop that ends, and on one that runs in a thread.
assert got(cache.get("/own")) == ("miss", parent)
assert asyncio.run(ask("/a")) == ("miss", parent)
loop = asyncio.new_event_loop()
running = threading.Thread(target=loop.run_forever)
running.start()

def on_loop(path):
    return asyncio.run_coroutine_threadsafe(ask(path), loop).result(20)

assert on_loop("/b") == ("miss", parent)

def child():
    assert got(cache.get("/own")) == ("miss", me())
    assert asyncio.run(ask("/a")) == ("miss", me())
    assert asyncio.run(ask("/own")) == ("hit", me())
    cache.revalidate_path("/[id]", "page")
    assert got(cache.get("/a")) == ("revalidated", me())
    assert asyncio.run(cache.adata("l", load)) == ""
    in_child(grandchild)

def grandchild():
    assert got(cache.get("/own")) == ("miss", me())
    assert asyncio.run(ask("/a")) == ("miss", me())

for _ in range(3):
    in_child(child)
assert on_loop("/c") == ("miss", parent)
assert asyncio.run(ask("/own")) == ("hit", parent)
assert got(cache.get("/d")) == ("miss", parent)
loop.call_soon_threadsafe(loop.stop)
running.join(20)
loop.close()
print("parent")
"""


def test_fork_with_event_loops() -> None:
    assert run(CHILD + LOOPS) == "parent\n"


INSIDE = """
@cache.page("/[id]")
def page(job):
    if job.path == "/fork":
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                assert got(cache.get("/fork2")) == ("miss", me())
                assert cache.data("k", lambda: 1) == 1
                assert cache.close()
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
    return me()

def load():
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return status
    signal.alarm(20)
    return "child"

assert got(cache.get("/fork")) == ("miss", me())
try:
    assert cache.data("fork", load) == 0
except libisr.Closed as error:
    # The child comes back out of the load.
    assert "forked" in str(error)
    assert got(cache.get("/a")) == ("miss", me())
    sys.exit(0)
assert got(cache.get("/a")) == ("miss", me())
print("parent")
"""


def test_fork_inside_callbacks() -> None:
    assert run(CHILD + INSIDE) == "parent\n"


POOL = """
import multiprocessing

@cache.page("/[id]")
def page(job):
    return me()

def work(n):
    signal.alarm(20)
    answers = [got(cache.get(f"/{n % 3}")) for _ in range(2)]
    assert all(body == me() for _, body in answers), answers
    return answers[1][0]

cache.get("/0")
with multiprocessing.get_context("fork").Pool(4) as pool:
    assert pool.map(work, range(40)) == ["hit"] * 40
    pool.close()
    pool.join()
assert got(cache.get("/0")) == ("hit", me())
print("parent")
"""


def test_a_pool_of_multiprocessing() -> None:
    assert run(CHILD + POOL) == "parent\n"


LOAD = """
import logging
logging.disable()  # asyncio tells what took long.
@cache.page("/sync/[id]", tags=["t"])
def page(job):
    return str(os.getpid()) + job.data(job.path, lambda: "")

@cache.page("/async/[id]", tags=["t"])
async def apage(job):
    await asyncio.sleep(0)
    return me()

over = threading.Event()

def hammer(n):
    while not over.is_set():
        n += 1
        cache.get(f"/sync/{n % 20}")
        if n % 3 == 0:
            cache.revalidate_tag("t", soft=n % 2 == 0)

async def ahammer():
    n = 0
    while not over.is_set():
        n += 1
        await cache.aget(f"/async/{n % 20}")

def child():
    assert got(cache.get("/sync/own")) == ("miss", me())
    assert got(cache.get("/sync/own")) == ("hit", me())
    assert asyncio.run(cache.aget("/async/own")).cache == "miss"
    assert got(cache.get("/async/1"))[1] == me()
    cache.revalidate_tag("t")
    assert cache.close()

threads = [threading.Thread(target=hammer, args=(n,), daemon=True) for n in (0, 1000)]
threads.append(threading.Thread(target=lambda: asyncio.run(ahammer()), daemon=True))
for thread in threads:
    thread.start()
for _ in range(50):
    in_child(child)
over.set()
for thread in threads:
    thread.join(20)
assert cache.close()
print("parent")
"""


def test_forks_under_load() -> None:
    assert run(CHILD + LOAD, timeout=300) == "parent\n"


def test_nothing_is_looked_up_late() -> None:
    # A child would wait for ever for a thread of the parent that was at it.
    sources = (Path(__file__).parent.parent / "src").glob("*.rs")
    late = [
        s.name for s in sources if re.search(r"static \w+: (PyOnceLock|OnceLock|LazyLock)|intern!\(", s.read_text())
    ]
    assert sorted(late) == ["job.rs", "lookups.rs"], "only what the import fills"


WORKERS = 4

APPLICATION = """
import os, pathlib, time
import libisr
from libisr.wsgi import ISR

directory = os.environ.get("ISR_TEST_DIRECTORY")
cache = libisr.Cache(directory=directory) if directory else libisr.Cache()
met = pathlib.Path(os.environ["ISR_TEST_MEET"])

def meet(name):
    '''Waits until every worker is here: so each of them takes one of the requests.'''
    (met / f"{name}-{os.getpid()}").touch()
    deadline = time.monotonic() + 20
    while len(list(met.glob(f"{name}-*"))) < 4:
        assert time.monotonic() < deadline, "not all workers came"
        time.sleep(0.001)

@cache.page("/page/[id]", static_params=[{"id": "before"}])
def page(job):
    return str(os.getpid())

@cache.page("/meet/[id]")
def meeting(job):
    meet(job.params["id"])
    return str(os.getpid())

@cache.page("/invalidate/[id]", revalidate=0)
def invalidate(job):
    cache.revalidate_path("/page/before")
    return str(os.getpid())

# The parent uses it before it forks its workers.
assert cache.prerender().rendered == 1
assert cache.get("/page/before").cache == "hit"

def hidden(environ, start_response):
    name, path = environ["QUERY_STRING"].split("=", 1)
    meet(name)
    answer = cache.get(path)
    start_response("200 OK", [("x-isr-cache", answer.cache), ("x-pid", str(os.getpid()))])
    return [bytes(answer.body)]

application = ISR(cache, fallback=hidden)
"""


@contextlib.contextmanager
def gunicorn(folder: Path, directory: Path | None) -> Iterator[int]:
    """A server that loads the application and forks its workers; its port."""
    (folder / "application.py").write_text(APPLICATION)
    met = folder / "met"
    met.mkdir()
    environment = {**os.environ, "ISR_TEST_MEET": str(met)}
    if directory is not None:
        environment["ISR_TEST_DIRECTORY"] = str(directory)
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--bind", "127.0.0.1:0"]
    server = subprocess.Popen(
        [*command, "application:application"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    log: list[str] = []
    listens, ready = threading.Event(), threading.Event()
    port = [0]

    def follow() -> None:
        assert server.stderr is not None
        for line in server.stderr:
            log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                port[0] = int(found[1])
                listens.set()
            if sum("Booting worker" in line for line in log) == WORKERS:
                ready.set()
        listens.set()
        ready.set()

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        assert listens.wait(30)
        assert ready.wait(30)
        assert port[0], "".join(log)
        yield port[0]
    finally:
        server.send_signal(signal.SIGTERM)
        status = server.wait(30)
        follower.join(30)
        if server.stderr is not None:
            server.stderr.close()
    text = "".join(log)
    assert status == 0, text
    assert sum("Booting worker" in line for line in log) == WORKERS, text
    assert not any(wrong in text for wrong in ("TIMEOUT", "SIGKILL", "Traceback")), text


def fetch(port: int, path: str) -> tuple[str, str, str]:
    """The word, the body, and the worker where it is told."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, body
        return (response.getheader("x-isr-cache") or "").lower(), body, response.getheader("x-pid") or ""
    finally:
        connection.close()


def fetch_from_all(port: int, path: str) -> list[tuple[str, str, str]]:
    """One answer of each worker: the path makes them meet."""
    answers: list[tuple[str, str, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(fetch(port, path))) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == WORKERS
    return answers


def test_gunicorn_preload(tmp_path: Path) -> None:
    with gunicorn(tmp_path, None) as port:
        # Each worker renders for itself ...
        answers = fetch_from_all(port, "/meet/a")
        assert [word for word, _, _ in answers] == ["miss"] * WORKERS
        workers = {body for _, body, _ in answers}
        assert len(workers) == WORKERS
        # ... and keeps it for itself.
        for word, body, worker in fetch_from_all(port, "/hidden?b=/meet/a"):
            assert (word, body) == ("hit", worker)
        answers = fetch_from_all(port, "/hidden?c=/page/before")
        assert {(word, body == worker) for word, body, worker in answers} == {("miss", True)}
        assert {worker for _, _, worker in answers} == workers


def test_gunicorn_preload_with_a_directory(tmp_path: Path) -> None:
    with gunicorn(tmp_path, tmp_path / "cache") as port:
        # What the parent rendered is a hit in every worker ...
        answers = fetch_from_all(port, "/hidden?a=/page/before")
        assert [word for word, _, _ in answers] == ["hit"] * WORKERS
        (rendered_by,) = {body for _, body, _ in answers}
        workers = {worker for _, _, worker in answers}
        assert len(workers) == WORKERS
        assert rendered_by not in workers
        # ... and an invalidation in one of them is seen by all: one renders anew.
        assert fetch(port, "/invalidate/now")[1] in workers
        answers = fetch_from_all(port, "/hidden?b=/page/before")
        assert sorted({word for word, _, _ in answers}) in (["revalidated"], ["hit", "revalidated"])
        (rendered_by,) = {body for _, body, _ in answers}
        assert rendered_by in workers


def test_gunicorn_preload_renders_once_for_all_with_a_directory(tmp_path: Path) -> None:
    with gunicorn(tmp_path, tmp_path / "cache") as port:
        answers = fetch_from_all(port, "/hidden?a=/page/new")
        assert len({body for _, body, _ in answers}) == 1
        assert len({worker for _, _, worker in answers}) == WORKERS
