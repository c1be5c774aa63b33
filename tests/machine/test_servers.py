#!/usr/bin/env python3
"""Real servers under load on one directory: `gunicorn --preload`, uvicorn, a Node cluster, and the C server.

What every answer must be is known: pages do not change unless they are edited, an edit that was answered is in the
very next answer of every server, and the origin counts its renders. The servers are the examples; `sites/` starts them.

LIBISR_LOAD_SECONDS: how long workers are killed (default 8).
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "examples"))

from load import EDITED, PAGES, WORDS, Load, Target  # noqa: E402
from servers import COMMANDS, DATABASE, Home, Server  # noqa: E402

SITES = {
    "gunicorn": [sys.executable, str(HERE / "sites" / "gunicorn_site.py")],
    "uvicorn": [sys.executable, str(HERE / "sites" / "uvicorn_site.py")],
    "cluster": ["node", str(HERE / "sites" / "cluster.mjs")],
    "c": COMMANDS["c"],
}
KILL_SECONDS = float(os.environ.get("LIBISR_LOAD_SECONDS", "8"))
KILL_EVERY = 0.4
# Renders that a process has at a time.
SEATS = 8
EDITS = 60
PATIENCE = 30


# How the workers of each master are known, and how many there are.
WORKERS = {"gunicorn": ("gunicorn_site", 4), "uvicorn": ("spawn_main", 2), "cluster": ("server.mjs", 4)}


def children(pid, what):
    """The processes that a process has started and whose command line has this."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", what], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.01)


class Site:
    """The servers."""

    def __init__(self, home):
        self.home = home
        self.servers = {}
        self.targets = {name: Target(name) for name in SITES}

    def start(self, *names):
        for name in names:
            target = self.targets[name]
            port = ["--port", str(target.port)] if target.port else []
            self.servers[name] = Server(name, self.home, "--directory", str(self.home.directory), *port)
            target.token = self.servers[name].token
        for name in names:
            self.servers[name].wait_until_ready()
            self.targets[name].port = self.servers[name].port

    def stop(self):
        """All of them, at the same time. Those that did not end in good order."""
        for server in self.servers.values():
            server.ask_to_end()
        ended = {name: server.stop() for name, server in self.servers.items()}
        outputs = [f"{name}:\n{self.servers[name].output()}" for name, well in ended.items() if not well]
        self.servers = {}
        return outputs

    def end(self):
        """Whatever is left, however."""
        for server in self.servers.values():
            server.kill()

    def workers(self):
        """Every process that serves, and the server that it belongs to."""
        found = [(self.servers["c"].process.pid, "c")]
        for name, (what, _) in WORKERS.items():
            found += [(pid, name) for pid in children(self.servers[name].process.pid, what)]
        return found

    def kill(self, pid, name):
        """kill -9. The masters replace their workers; of the C server there is one alone."""
        self.targets[name].is_killed = True
        if name == "c":
            self.servers["c"].kill()
            self.start("c")
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Servers(unittest.TestCase):
    """One walk: each part finds what the one before has left."""

    def setUp(self):
        # The servers are those of the example site.
        COMMANDS.update(SITES)
        folder = tempfile.TemporaryDirectory(prefix="libisr-servers-")
        self.addCleanup(folder.cleanup)
        self.home = Home(folder.name, DATABASE)
        self.site = Site(self.home)
        self.addCleanup(self.site.end)
        self.load = Load(list(self.site.targets.values()))
        self.addCleanup(self.load.stop)

    def test_servers(self):
        self.site.start(*SITES)
        for part in (self.cold, self.data, self.edits, self.kills, self.calm, self.restart):
            began = time.monotonic()
            told = part()
            print(f"# {part.__name__}: {told} ({time.monotonic() - began:.1f} s)", file=sys.stderr, flush=True)

    def renders_of(self, paths):
        """How often each was rendered, where that is not once."""
        counts = self.home.all_renders()
        return {path: counts[path] for path in paths if counts[path] != 1}

    def cold(self):
        """Many clients of all servers ask for the same pages at the same time: one render of each on the machine."""
        paths = PAGES[:240]
        answers = self.load.crowd(paths, clients=24)
        self.load.check()
        self.assertEqual(answers, 24 * len(paths))
        self.assertEqual(self.renders_of(paths), {})
        return f"{len(paths)} pages, {answers} answers, one render each"

    def data(self):
        """What one language has loaded, the others read."""
        loads = self.home.renders("counts")
        for target in self.load.targets:
            before = self.home.renders("/")
            self.site.servers["gunicorn"].post("/admin/remove", page="/")
            answer = target.get("/")
            self.assertEqual((answer.status, answer.cache), (200, "MISS"), target.name)
            self.assertEqual(self.home.renders("/"), before + 1)
        self.assertEqual(self.home.renders("counts"), loads)
        return "rendered by each, with the counts that one has loaded"

    def edits(self):
        """An edit is in the very next answer of every server."""
        self.load.start(PAGES[:240], clients=6)
        took = [self.load.edit() for _ in range(EDITS)]
        self.load.stop()
        self.load.check()
        seen = [seconds for edit in took for seconds in edit]
        return (
            f"{EDITS} edits, each in the next {len(took[0])} answers; of {self.load.answers} others none was old; "
            f"median {statistics.median(seen) * 1e3:.1f} ms, slowest {max(seen) * 1e3:.1f} ms"
        )

    def kills(self):
        """Workers are killed while they render and serve; whatever is answered is right."""
        before = self.load.answers
        self.load.start(PAGES, clients=8, new=0.3)
        end = time.monotonic() + KILL_SECONDS
        kills = 0
        while time.monotonic() < end:
            pid, name = self.load.random.choice(self.site.workers())
            self.site.kill(pid, name)
            kills += 1
            self.load.edit()
            time.sleep(KILL_EVERY * self.load.random.random())
        self.load.stop()
        self.load.check()
        self.assertGreater(kills, 0)
        # What a killed worker had begun is begun again by another, and nothing else is.
        again = sum(n - 1 for n in self.renders_of(WORDS).values() if n > 1)
        self.assertLessEqual(again, kills * SEATS)
        answers = self.load.answers - before
        return f"{kills} killed, {answers} right answers, {self.load.broken} broken connections, {again} renders again"

    def calm(self):
        """Nothing is stuck: what was rendered is there, and of each cold page there is one render again."""
        number = 1 + sum(count for _, count in WORKERS.values())
        until(lambda: len(self.site.workers()) == number, "all workers are back")
        # Kept connections to workers that are gone were given up by the clients of before.
        for target in self.load.targets:
            target.is_killed = False
        self.load.crowd(PAGES, clients=6)
        counts = self.home.all_renders()
        self.load.crowd(PAGES, clients=6)
        self.load.check()
        self.assertEqual({p: n for p, n in (self.home.all_renders() - counts).items() if p in PAGES}, {})
        new = self.load.new_pages(120)
        self.load.crowd(new, clients=24)
        self.load.check()
        self.assertEqual(self.renders_of(new), {})
        return f"{len(PAGES)} pages are hits, {len(new)} others are rendered once"

    def restart(self):
        """All servers end and begin again: pages are hits, and what was edited before is expired."""
        self.load.edit_unseen()
        self.assertEqual(self.site.stop(), [])
        counts = self.home.all_renders()
        self.site.start(*SITES)
        self.load.crowd(PAGES, clients=3)
        for path in EDITED:
            self.load.ask(path)
        self.load.check()
        new = self.home.all_renders() - counts
        self.assertEqual({path: n for path, n in new.items() if path in PAGES}, {})
        self.assertEqual({new[path] for path in EDITED}, {1})
        self.assertEqual(self.site.stop(), [])
        return f"{len(PAGES)} pages without a render"


class WorkerThreads(unittest.TestCase):
    """worker_threads of one Node process, each with a cache on the same directory."""

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="libisr-threads-") as directory:
            command = ["node", str(HERE / "sites" / "threads.mjs"), directory]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, check=False)
        if ran.returncode != 0 or ran.stderr:
            raise AssertionError(f"threads.mjs ended with {ran.returncode}: {ran.stderr}")
        cls.said = json.loads(ran.stdout)

    def test_one_render_for_all_threads(self):
        self.assertEqual(set(self.said["rendered"]), {1})
        self.assertEqual(len({tuple(bodies) for bodies in self.said["bodies"]}), 1)

    def test_a_call_in_one_is_seen_by_the_next_request_in_the_others(self):
        self.assertEqual(self.said["next"], ["revalidated", "hit"] * 100)

    def test_a_thread_that_is_terminated_in_mid_render_is_replaced_at_once(self):
        word, ms = self.said["held"]
        self.assertEqual(word, "miss")
        self.assertLess(ms, 10_000, "that is the lease's end, not the holder's")

    def test_a_new_thread_has_what_the_others_stored(self):
        self.assertEqual(self.said["again"], "hit")


if __name__ == "__main__":
    threading.excepthook = lambda args: os.abort()
    unittest.main()
