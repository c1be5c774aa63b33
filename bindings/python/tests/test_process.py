"""The ends of a process: exit with running renders, and Ctrl-C."""

from __future__ import annotations

import pytest
from conftest import run


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
