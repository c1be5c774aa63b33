#!/usr/bin/env python3
"""Kills a process at every system call of an operation, one after the other, and looks at what it leaves behind.

The random kills of `crash.py` rarely hit the moments that matter; here none is left out. strace ends the process as
one of its threads enters its N-th call of a kind, for all kinds and N = 1, 2, ... until the operation gets through.
A second process has the directory open all the while; a third opens it after the kill; a fourth when all others are
gone.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

from machine import Gone, Machine, until

# Whatever changes the directory, and what lies between two changes.
CALLS = (
    "openat mkdirat renameat unlinkat utimensat fallocate ftruncate pwrite64 write fsync fdatasync newfstatat pread64 "
    "read mmap close fcntl futex"
).split()
# In `make test` only every so many-th moment is tried.
STEP = int(os.environ.get("LIBISR_CRASH_STEP", "1"))
# Twice so many tags make a log grow so much that the next call rewrites it.
MANY = 9000


def why_not():
    if not shutil.which("strace"):
        return "strace is not installed"
    probe = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {probe.stderr.strip()}" if probe.returncode else None


WHY_NOT = why_not()


@contextlib.contextmanager
def killed_at(worker, call, n):
    """In here, the worker dies as one of its threads enters its n-th call of this kind."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(worker.pid), "-o", os.devnull, "-e", f"trace={call}", "-e"]
        + [f"inject={call}:signal=KILL:when={n}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # A thread that was in the middle of a call makes it again: that is its first, and may be its last.
        until(lambda: worker.process.poll() is not None or is_traced(worker.pid), "strace attaches")
        yield
    finally:
        # Stops tracing; the worker, if it is alive, goes on.
        tracer.kill()
        tracer.wait()


def is_traced(pid):
    """Whether all its threads are."""
    try:
        statuses = [task.joinpath("status").read_text() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False
    return all("TracerPid:\t0\n" not in status for status in statuses)


class Sweep(Machine):
    """Goes through the moments of an operation."""

    # Crashes alone lose nothing, but the calls that wait for the disk are moments, too.
    options = {"durable": 1}

    def sweep(self, interrupt):
        """`interrupt(name, call, n)` says whether the operation got through."""
        moments = 0
        for call in CALLS:
            n = 1
            while not interrupt(f"cache-{call}-{n}", call, n):
                self.end_workers()
                moments += 1
                n += STEP
            self.end_workers()
        print(f"# {self.id().split('.')[-1]}: {moments} moments", file=sys.stderr)
        self.assertGreater(moments, 5)

    def begin(self, name):
        self.directory = self.home / name
        self.origin.__init__()

    def operate(self, worker, call, n, operation):
        """Whether it got through, and whether the worker survived that."""
        worker.expected_to_die = True
        done = False
        with killed_at(worker, call, n), contextlib.suppress(Gone):
            operation(worker)
            done = True
        survived = done and worker.process.poll() is None
        worker.kill()
        return done, survived

    def assert_no_trouble(self, worker):
        self.assertEqual((worker.stat("disk_errors"), worker.call("troubles")), (0, []), worker.name)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Operations(Sweep):
    """One process has the directory open while another is killed in the middle of an operation."""

    def check(self, prepare, operation, look, opens=False):
        """`prepare(a, b)` makes the state before, `operation(a)` is interrupted, `look(worker, done)` says what is."""
        self.sweep(lambda *moment: self.interrupt(*moment, prepare, operation, look, opens))

    def interrupt(self, name, call, n, prepare, operation, look, opens):
        self.begin(name)
        b = self.worker("B")
        a = self.spawn("A")
        if not opens:
            self.open(a)
        prepare(a, b)
        done, survived = self.operate(a, call, n, operation)
        with self.subTest(call=call, n=n, done=done):
            c = self.worker("C")
            seen = [self.look(worker, look, done, None) for worker in (b, c)]
            # What is invalidated from now on holds for all, also after a restart.
            for caller, other in ((b, c), (c, b)):
                caller.get("/p/other")
                other.get("/p/other")
                caller.call("revalidate_path", paths=["/p/other"])
                for worker in (other, caller):
                    self.assertEqual(worker.call("peek", path="/p/other")["state"], "expired", worker.name)
            for worker in (b, c):
                self.assert_no_trouble(worker)
                worker.kill()
            d = self.worker("D")
            self.assertEqual(d.call("peek", path="/p/other")["state"], "expired", "D")
            self.look(d, look, done, "after" if "after" in seen else None)
            self.assert_no_trouble(d)
        return survived

    def look(self, worker, look, done, seen):
        now = look(worker, done)
        if seen == "after":
            self.assertEqual(now, "after", f"{worker.name} sees what was before, another saw what came after")
        return now

    def peek(self, worker, path, before, after, done):
        """Which of two states a page is in: `(state, body)`."""
        peek = worker.call("peek", path=path)
        now = (peek["state"], peek["body"])
        self.assertIn(now, [after] if done else [before, after], worker.name)
        return "after" if now == after else "before"

    def tagged(self, a, b):
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        a.get("/p/1")
        b.get("/p/1")

    def test_a_page_is_stored(self):
        self.check(
            lambda a, b: None,
            lambda a: a.get("/p/1"),
            lambda w, done: self.peek(w, "/p/1", ("missing", None), ("fresh", "/p/1 #1"), done),
        )

    def test_a_page_is_replaced(self):
        def look(worker, done):
            self.peek(worker, "/p/1", ("fresh", "/p/1 #1"), ("fresh", "/p/1 #2"), done)
            # Where nobody was told of the new one, B keeps its copy: both are fresh.

        self.check(self.tagged, lambda a: a.call("regenerate", path="/p/1"), look)

    def test_a_variant_is_stored(self):
        variant = {"lang": "de"}

        def look(worker, done):
            state = worker.call("peek", path="/p/1", variant=variant)["state"]
            self.assertIn(state, ["fresh"] if done else ["fresh", "missing"])

        self.check(lambda a, b: None, lambda a: a.get("/p/1", variant=variant), look)

    def test_a_tag_is_revalidated(self):
        self.check(
            self.tagged,
            lambda a: a.call("revalidate_tag", tags=["t"]),
            lambda w, done: self.peek(w, "/p/1", ("fresh", "/p/1 #1"), ("expired", "/p/1 #1"), done),
        )

    def test_a_page_is_removed(self):
        self.check(
            self.tagged,
            lambda a: a.call("remove", paths=["/p/1"]),
            lambda w, done: self.peek(w, "/p/1", ("fresh", "/p/1 #1"), ("missing", None), done),
        )

    def test_the_log_is_rewritten(self):
        inode = None

        def prepare(a, b):
            nonlocal inode
            self.tagged(a, b)
            for n in range(2):
                b.call("revalidate_tag", tags=[f"{n}-{i}".ljust(250, "x") for i in range(MANY)])
            inode = (self.directory / "v1/log").stat().st_ino

        def look(worker, done):
            if done:
                self.assertNotEqual((self.directory / "v1/log").stat().st_ino, inode)
            return self.peek(worker, "/p/1", ("fresh", "/p/1 #1"), ("expired", "/p/1 #1"), done)

        self.check(prepare, lambda a: a.call("revalidate_tag", tags=["t"]), look)

    def test_a_directory_is_joined(self):
        def prepare(a, b):
            self.origin.pages["/p/1"] = {"tags": ["t"]}
            b.get("/p/1")
            b.get("/p/2")
            b.call("revalidate_tag", tags=["t"])

        def look(worker, done):
            self.peek(worker, "/p/1", ("expired", "/p/1 #1"), ("expired", "/p/1 #1"), done)
            self.peek(worker, "/p/2", ("fresh", "/p/2 #1"), ("fresh", "/p/2 #1"), done)

        self.check(prepare, self.open, look, opens=True)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class Opening(Sweep):
    """A process that opens a directory alone is killed in the middle of it."""

    def interrupt(self, name, call, n, stored):
        self.begin(name)
        if stored:
            first = self.worker("first")
            self.origin.pages["/p/1"] = {"tags": ["t"]}
            for path in ("/p/1", "/p/2", "/p/3"):
                first.get(path)
            first.call("revalidate_tag", tags=["t"])
            first.call("remove", paths=["/p/3"])
            first.kill()
        done, survived = self.operate(self.spawn("A"), call, n, self.open)
        with self.subTest(call=call, n=n, done=done):
            b = self.worker("B")
            if stored:
                states = [b.call("peek", path=f"/p/{n}")["state"] for n in (1, 2, 3)]
                self.assertEqual(states, ["expired", "fresh", "missing"])
            b.get("/p/4")
            self.assert_no_trouble(b)
            b.kill()
            c = self.worker("C")
            self.assert_answer(c.get("/p/4"), "hit", "/p/4 #1")
            self.assert_no_trouble(c)
        return survived

    def test_a_new_directory(self):
        self.sweep(lambda *moment: self.interrupt(*moment, stored=False))

    def test_a_directory_that_others_left(self):
        self.sweep(lambda *moment: self.interrupt(*moment, stored=True))


if __name__ == "__main__":
    unittest.main()
