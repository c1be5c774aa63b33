"""Processes that share a directory, and the origin whose pages they render: the test itself.

A worker (`core/examples/worker`) does as it is told over a pipe. Its renders and loads come back as events, and
wait until the origin here ends them: so a test decides what happens in which order, without sleeping.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = os.environ.get("LIBISR_WORKER") or str(ROOT / "target" / "release" / "examples" / "worker")
# What takes longer hangs.
PATIENCE = 30
# Of renders, unless a test says otherwise: what is replaced sooner was replaced for another reason.
RENDER_TIMEOUT = 60

ROUTES = (
    {"pattern": "/p/[id]"},
    {"pattern": "/deep/[...rest]"},
    {"pattern": "/short/[id]", "revalidate": 10, "expire": 100},
    {"pattern": "/quick/[id]", "timeout": 1},
    {"pattern": "/q/[id]", "query": ["page"]},
)


class Refused(Exception):
    """The cache's error."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class Gone(Exception):
    """The worker has ended."""


def until(condition, what, patience=PATIENCE):
    """Asks again and again until the condition holds; its value."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.002)


class Job:
    """A render or load that waits for its end."""

    def __init__(self, worker, event, number):
        self.worker = worker
        self.id = event["job"]
        self.cache = event["cache"]
        self.kind = event["event"]
        self.path = event.get("path") or tuple(event["key"])
        self.variant = event.get("variant", {})
        self.reason = event.get("reason")
        # How many renders of this path there have been on the machine.
        self.number = number

    def finish(self, **page):
        return self.begin_finish(**page).result(PATIENCE)

    def begin_finish(self, **page):
        name = self.path if isinstance(self.path, str) else "/".join(self.path)
        page.setdefault("body", f"{name} #{self.number}")
        return self.worker.begin("finish", job=self.id, **page)

    def fail(self, message):
        return self.worker.call("finish", job=self.id, fail=message)


class Origin:
    """Ends renders and loads at once, or keeps those that a test wants to end itself."""

    def __init__(self):
        self.changed = threading.Condition()
        self.counts = collections.Counter()
        self.held = []
        self.holding = set()
        # What a path's pages have beside their body.
        self.pages = {}

    def hold(self, *paths):
        with self.changed:
            self.holding.update(paths)

    def release(self, *paths):
        """From now on these end at once; the held ones, too."""
        with self.changed:
            self.holding.difference_update(paths)
            free = [job for job in self.held if job.path in paths]
            self.held = [job for job in self.held if job.path not in paths]
        for job in free:
            self._end(job)

    def take(self, path, worker=None, patience=PATIENCE):
        """The next held render or load of this path, when it has begun."""
        end = time.monotonic() + patience
        with self.changed:
            while True:
                for job in self.held:
                    if job.path == path and worker in (None, job.worker):
                        self.held.remove(job)
                        return job
                left = end - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    where = f" in {worker.name}" if worker else ""
                    raise AssertionError(f"no render of {path}{where} within {patience} s")

    def waiting(self, path):
        with self.changed:
            return sum(job.path == path for job in self.held)

    def renders(self, path):
        with self.changed:
            return self.counts[path]

    def called(self, worker, event):
        path = event.get("path") or tuple(event["key"])
        with self.changed:
            self.counts[path] += 1
            job = Job(worker, event, self.counts[path])
            if path in self.holding:
                self.held.append(job)
                self.changed.notify_all()
                return
        self._end(job)

    def _end(self, job):
        with contextlib.suppress(Gone):
            job.begin_finish(**self.pages.get(job.path, {}))


class Worker:
    """A process with one cache, or several by name."""

    def __init__(self, name, origin, errors, prefix=(), **popen):
        self.name = name
        self.origin = origin
        self.errors = errors
        self.lock = threading.Lock()
        self.pending = {}
        self.next_id = 0
        self.expected_to_die = False
        with open(errors, "wb") as stderr:
            self.process = subprocess.Popen(
                [*prefix, WORKER, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, **popen
            )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def pid(self):
        return self.process.pid

    def _read(self):
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                break  # killed in the middle of a line
            if "event" in said:
                self.origin.called(self, said)
                continue
            with self.lock:
                future = self.pending.pop(said["id"])
            if "error" in said:
                future.set_exception(Refused(said["error"], said["message"]))
            else:
                future.set_result(said["ok"])
        with self.lock:
            pending, self.pending = self.pending, None
        for future in pending.values():
            future.set_exception(Gone(self.name))

    def begin(self, do, **arguments):
        """Tells the worker to do something; the answer comes later."""
        future = concurrent.futures.Future()
        with self.lock:
            if self.pending is None:
                raise Gone(self.name)
            self.next_id += 1
            self.pending[self.next_id] = future
            line = json.dumps({"id": self.next_id, "do": do, **arguments}) + "\n"
            try:
                self.process.stdin.write(line.encode())
                self.process.stdin.flush()
            except OSError:
                self.pending.pop(self.next_id, None)
                raise Gone(self.name) from None
        return future

    def call(self, do, **arguments):
        return self.begin(do, **arguments).result(PATIENCE)

    def get(self, path, **more):
        return self.call("get", path=path, **more)

    def begin_get(self, path, **more):
        return self.begin("get", path=path, **more)

    def data(self, *key, **more):
        return self.call("data", key=list(key), **more)

    def stat(self, name):
        return self.call("stats")[name]

    def activity(self):
        return self.call("activity")

    def is_waiting(self):
        """Whether somebody waits for a render in here, or through here for one elsewhere."""
        a = self.activity()
        return a["running"] + a["queued"] > 0

    def kill(self):
        """kill -9, and until it is gone."""
        self.expected_to_die = True
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        """SIGSTOP, and until it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: self.state() == "T", f"{self.name} stops")

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def state(self):
        status = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        return status.rsplit(")", 1)[1].split()[0]

    def end(self):
        """Ends at its own pace: stdin is closed. What went wrong in it."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGCONT)
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return f"{self.name} does not end"
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        text = pathlib.Path(self.errors).read_text(errors="replace")
        if "panicked" in text:
            return f"{self.name}: {text}"
        if self.process.returncode != 0 and not self.expected_to_die:
            return f"{self.name} ended with {self.process.returncode}: {text}"
        return None


class Machine(unittest.TestCase):
    """A directory, an origin and workers, for one test."""

    options = {}
    routes = ROUTES

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="libisr-machine-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        # Whatever goes wrong while a test sets up, no process is left behind.
        self.addCleanup(self.end_workers)
        self.directory = self.home / "cache"
        self.origin = Origin()
        self.workers = []

    def end_workers(self):
        faults = [worker.end() for worker in self.workers]
        self.workers = []
        faults = [fault for fault in faults if fault]
        if faults:
            self.fail("\n".join(faults))

    def spawn(self, name=None, **more):
        """A worker without a cache."""
        name = name or "ABCDEFGHIJKLMNOP"[len(self.workers) % 16]
        errors = self.home / f"stderr-{len(self.workers)}"
        worker = Worker(name, self.origin, errors, **more)
        self.workers.append(worker)
        return worker

    def open(self, worker, cache="main", clock=None, routes=None, directory=None, **options):
        """Opens a cache in a worker."""
        options = {"directory": str(directory or self.directory), **self.options, **options}
        worker.call("open", cache=cache, options=options, clock=clock)
        for route in self.routes if routes is None else routes:
            worker.call("route", cache=cache, **route)

    def worker(self, name=None, **options):
        worker = self.spawn(name)
        self.open(worker, **options)
        return worker

    def several(self, n, **options):
        return [self.worker(**options) for _ in range(n)]

    def assert_answer(self, answer, cache, body=None, status=200):
        got = (answer["cache"], answer["status"], answer["body"])
        self.assertEqual(got, (cache, status, answer["body"] if body is None else body))

    def assert_refused(self, kind, call):
        with self.assertRaises(Refused) as caught:
            call()
        self.assertEqual(caught.exception.kind, kind, caught.exception)
        return caught.exception
