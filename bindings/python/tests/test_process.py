"""The ends of a process: exit with running renders, Ctrl-C, and fork."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import asyncio, os, signal, sys, threading, time
import libisr
cache = libisr.Cache()
begun = threading.Event()
"""


def run(program: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "panicked" not in done.stderr
    assert "Fatal" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "while True: time.sleep(0.001)",
        "time.sleep(1000)",
        "threading.Event().wait()",
        "while True: cache.data('k', lambda: 1)",
    ],
)
def test_exit_with_a_sync_render_that_never_ends(body: str) -> None:
    run(f"""
@cache.page("/")
def page(job):
    begun.set()
    {body}

def ask():
    try:
        cache.get("/")
    except libisr.Closed:
        pass

threading.Thread(target=ask, daemon=True).start()
assert begun.wait(20)
""")


def test_exit_with_a_load_that_never_ends() -> None:
    run("""
def load():
    begun.set()
    while True: time.sleep(0.001)

threading.Thread(target=lambda: cache.data("k", load), daemon=True).start()
assert begun.wait(20)
""")


@pytest.mark.parametrize("body", ["await asyncio.Event().wait()", "while True: await asyncio.sleep(0)"])
def test_exit_with_an_async_render_that_never_ends(body: str) -> None:
    run(f"""
@cache.page("/")
async def page(job):
    begun.set()
    {body}

def ask():
    try:
        cache.get("/")
    except libisr.IsrError:
        pass

threading.Thread(target=ask, daemon=True).start()
assert begun.wait(20)
""")


def test_exit_with_a_deferred_job_and_a_waiting_loop() -> None:
    run("""
jobs = []
@cache.page("/", deferred=True)
def page(job):
    jobs.append(job)
    begun.set()

async def main():
    waiting = asyncio.ensure_future(cache.aget("/"))
    await asyncio.to_thread(begun.wait, 20)
    waiting.cancel()

asyncio.run(main())
assert jobs
""")


def test_exit_with_prerender_in_a_daemon_thread() -> None:
    run("""
@cache.page("/[id]", static_params=[{"id": str(i)} for i in range(1000)])
def page(job):
    begun.set()
    time.sleep(0.001)
    return "x"

threading.Thread(target=lambda: cache.prerender(lambda p: None), daemon=True).start()
assert begun.wait(20)
""")


def test_renders_that_end_soon_are_waited_for() -> None:
    out = run("""
@cache.page("/", revalidate=0.001)
def page(job):
    begun.set()
    if job.reason == "stale":
        asking.wait(20)
        print("ended")
    return "x"

asking = threading.Event()
cache.get("/")
begun.clear()
while cache.get("/").cache != "stale":
    pass
assert begun.wait(20)
import atexit
# Runs before the module's own hook, which waits.
atexit.register(asking.set)
""")
    assert "ended" in out


def test_ctrl_c_ends_a_wait_on_the_main_thread() -> None:
    out = run("""
gate = threading.Event()
@cache.page("/")
def page(job):
    begun.set()
    gate.wait(20)
    return "x"

def interrupt():
    begun.wait(20)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    cache.get("/")
except KeyboardInterrupt:
    print("interrupted")
gate.set()
print(bytes(cache.get("/").body))
""")
    assert out == "interrupted\nb'x'\n"


FORK = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
@cache.page("/")
def page(job):
    begun.set()
    return job.data("k", lambda: "x")

answer = cache.get("/")
jobs = []
later, loading = threading.Event(), threading.Event()

@cache.page("/later", deferred=True)
def deferred(job):
    jobs.append(job)
    later.set()

async def first():
    waiting = asyncio.ensure_future(cache.aget("/later"))
    await asyncio.to_thread(later.wait, 20)
    waiting.cancel()

asyncio.run(first())

def load():
    loading.set()
    time.sleep(1000)

threading.Thread(target=lambda: cache.data("hung", load), daemon=True).start()
assert loading.wait(20)

def check(call):
    try:
        call()
    except libisr.Closed as error:
        assert "forked" in str(error), error
    else:
        raise AssertionError("it was answered")

pid = os.fork()
if pid == 0:
    assert cache.closed
    for call in (
        lambda: cache.get("/"),
        lambda: cache.try_get("/"),
        lambda: cache.peek("/"),
        lambda: "/" in cache,
        lambda: cache.put("/", "x", 1),
        lambda: cache.revalidate_tag("t"),
        lambda: cache.revalidate_path("/"),
        lambda: cache.remove("/"),
        lambda: cache.regenerate("/"),
        lambda: cache.prerender(),
        lambda: cache.data("k", lambda: 1),
        lambda: cache.stats(),
        lambda: cache.activity(),
        lambda: cache.started(),
        lambda: cache.draft_token(5),
        lambda: cache.page("/new")(page),
        lambda: asyncio.run(cache.aget("/")),
        lambda: asyncio.run(cache.adata("k", lambda: 1)),
        lambda: jobs[0].complete("x"),
        lambda: jobs[0].data("k", lambda: 1),
        lambda: jobs[0].cancelled,
    ):
        check(call)
    assert cache.close() is True
    assert repr(cache) == "<libisr.Cache closed>"
    assert bytes(answer.body) == b"x"
    new = libisr.Cache()
    new.page("/")(lambda job: "from the child")
    assert bytes(new.get("/").body) == b"from the child"
    jobs.clear()
    print("child", flush=True)
    sys.exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
assert cache.get("/").cache == "hit"
print("parent")
"""


def test_fork() -> None:
    assert run(FORK) == "child\nparent\n"
