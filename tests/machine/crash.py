#!/usr/bin/env python3
"""Kills processes that share a directory, at random instants, and checks every answer that any of them gave.

Workers (`worker storm`) read, render and invalidate as fast as they can; a mapped file outside of the cache knows
what is true and what has been promised (see `core/examples/worker/storm`). Processes are killed with -9 and started
again at once, stopped for longer than a render may take and continued, and now and then killed all together. After
each round all must be calm: every page can be rendered in time, one render on the machine for one page, nothing
promised is lost, and all is there after a restart. Prints TAP.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from machine import ROOT, WORKER

# A render times out after one second, and the oddest pages hang for longer.
PAGE_SECONDS = 8
CALM_SECONDS = 40
COLD_PAGES = 4


class Storm:
    """One process."""

    def __init__(self, arguments):
        self.process = subprocess.Popen(
            [WORKER, "storm", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.said = queue.SimpleQueue()
        self.due = 0
        self.stopped = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.said.put(line)
        self.said.put(None)

    def tell(self, command):
        with contextlib.suppress(OSError):
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            self.due += 1

    def answer(self):
        """What the last command came to."""
        said = None
        while self.due:
            try:
                line = self.said.get(timeout=CALM_SECONDS)
            except queue.Empty:
                raise Fault(f"process {self.process.pid} does not answer within {CALM_SECONDS} s") from None
            if line is None:
                raise Fault(f"process {self.process.pid} ended with {self.process.wait()}")
            self.due -= 1
            said = json.loads(line)
        return said

    def ask(self, command):
        self.tell(command)
        return self.answer()

    def signal(self, number):
        self.stopped = number == signal.SIGSTOP
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


class Fault(Exception):
    """What must not be."""


class Crash:
    """All rounds on one directory."""

    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="libisr-crash-", dir=args.place))
        self.directory = self.home / "cache"
        self.violations = self.home / "violations"
        self.processes = []
        self.started = 0
        self.cold = 0
        self.events = collections.Counter()
        self.set = []

    def start(self):
        self.started += 1
        arguments = ["--truth", str(self.home / "truth"), "--violations", str(self.violations)]
        arguments += ["--seed", str(self.random.getrandbits(60))]
        if not self.args.without_directory:
            arguments += ["--directory", str(self.directory)]
        for pair in self.set + self.args.set:
            arguments += ["--set", pair]
        return Storm(arguments)

    def start_all(self):
        self.processes = [self.start() for _ in range(self.args.processes)]

    def kill_all(self):
        for process in self.processes:
            with contextlib.suppress(OSError):
                process.signal(signal.SIGKILL)
        for process in self.processes:
            process.kill()
        self.processes = []

    def replace(self, at):
        self.processes[at].kill()
        self.processes[at] = self.start()
        self.processes[at].tell("go")

    def wild(self, stops):
        """Kills, and stops, for some seconds."""
        for process in self.processes:
            process.tell("go")
        end = time.monotonic() + self.args.seconds
        resume = []
        while time.monotonic() < end:
            pause = self.random.uniform(0.005, 2 / self.args.kills_per_second)
            time.sleep(min(pause, max(end - time.monotonic(), 0)))
            now = time.monotonic()
            for at, process in [r for r in resume if r[0] <= now]:
                resume.remove((at, process))
                if process.stopped and process in self.processes:
                    process.signal(signal.SIGCONT)
            self.see_deaths()
            which = self.random.randrange(len(self.processes))
            dice = self.random.random()
            if dice < 0.82 or (dice < 0.98 and not stops):
                self.replace(which)
                self.events["kills"] += 1
            elif dice < 0.98:
                process = self.processes[which]
                if not process.stopped:
                    process.signal(signal.SIGSTOP)
                    resume.append((now + self.random.uniform(0.05, 2.5), process))
                    self.events["stops"] += 1
            else:
                self.kill_all()
                self.start_all()
                for process in self.processes:
                    process.tell("go")
                self.events["restarts"] += 1
                self.events["kills"] += len(self.processes)
        for process in self.processes:
            if process.stopped:
                process.signal(signal.SIGCONT)

    def see_deaths(self):
        for process in self.processes:
            if process.process.poll() is not None:
                raise Fault(f"process {process.process.pid} ended by itself with {process.process.returncode}")

    def all(self, command):
        """Says it to all at once; what each answers."""
        for process in self.processes:
            process.tell(command)
        return [process.answer() for process in self.processes]

    def calm(self, flooded, stops):
        """What must hold when nobody is killed any more."""
        self.all("quiet")
        for shown in self.all("verify"):
            for path, page in shown.items():
                if page["ms"] > PAGE_SECONDS * 1000:
                    raise Fault(f"{path} took {page['ms']} ms: {page}")
        for _ in range(COLD_PAGES):
            counts = self.all(f"cold {self.cold}")
            self.cold += 1
            if any(count != {"renders": 1, "loads": 1} for count in counts):
                raise Fault(f"cold page {self.cold - 1}: not one render and one load on the machine: {counts}")
        before = self.processes[0].ask("verify")
        errors = [counters["own"]["disk_errors"] for counters in self.all("counters")]
        # One that is stopped may have a lock, without which the others go on in the end.
        if any(errors) and not stops:
            raise Fault(f"disk_errors: {errors}")
        self.kill_all()
        self.start_all()
        if not flooded:
            self.see_all_again(before)

    def see_all_again(self, before):
        """After a restart everything that does not go stale is there, and as it was."""
        after = self.processes[-1].ask("verify")
        for path, page in after.items():
            if page["steady"] and (page["cache"] != "hit" or page["id"] != before[path].get("id")):
                raise Fault(f"{path} was {before[path]} before all were killed, and is {page}")

    def check_violations(self):
        if self.violations.exists() and (text := self.violations.read_text()):
            raise Fault("broken promises:\n" + "\n".join(text.splitlines()[:20]))

    def round(self, number):
        # Every other round the disk is too small for what is stored.
        flooded = number % 2 == 1
        stops = number % 3 != 2
        self.set = ["max_disk_bytes=4000000"] if flooded else ["max_disk_bytes=4000000000"]
        self.start_all()
        self.wild(stops)
        self.calm(flooded, stops)
        self.check_violations()
        counters = self.processes[0].ask("counters")["all"]
        self.kill_all()
        return counters

    def check_leftovers(self):
        """One process alone finds nothing wrong; after its janitor nothing is left over and all is counted."""
        self.set = ["max_disk_bytes=4000000000"]
        self.processes = [self.start()]
        self.processes[0].ask("verify")
        tmp = self.directory / "v1" / "tmp"
        end = time.monotonic() + CALM_SECONDS
        while True:
            left = sorted(file.name for file in tmp.iterdir())
            own = self.processes[0].ask("counters")["own"]
            there = self.disk_use()
            if not left and own["disk_bytes"] == there:
                break
            if time.monotonic() > end:
                raise Fault(f"left over: {left}; {own['disk_bytes']} bytes counted, {there} there")
            time.sleep(0.1)
        if own["disk_errors"]:
            raise Fault(f"disk_errors: {own['disk_errors']}")
        self.check_violations()
        self.kill_all()

    def disk_use(self):
        """Blocks of page files, and those of the folders of variants."""
        total = 0
        for place in (self.directory / "v1" / "pages").rglob("*"):
            if place.is_file():
                total += -(-place.stat().st_size // 4096) * 4096
            elif place.name.endswith(".v"):
                total += 4096
        return total

    def close(self):
        self.kill_all()
        if self.args.keep:
            print(f"# kept: {self.home}")
        else:
            shutil.rmtree(self.home, ignore_errors=True)


def enough(counters, events):
    """A storm that did not do what it is for proves nothing."""
    for name in ("hits", "foreign_hits", "stale", "waited", "stale_errors", "errors", "renders", "loads", "data"):
        if not counters[name]:
            raise Fault(f"no {name} at all: {counters}")
    for name in ("path_calls", "pattern_calls", "layout_calls", "tag_calls", "soft_calls", "removes", "puts"):
        if not counters[name]:
            raise Fault(f"no {name} at all: {counters}")
    if not events["kills"] or not events["stops"]:
        raise Fault(f"nobody was killed or stopped: {events}")


def run(args):
    crash = Crash(args)
    print(f"TAP version 14\n1..{args.rounds + 2}\n# seed {args.seed}, {args.processes} processes, in {crash.home}")
    try:
        counters = {}
        for number in range(args.rounds):
            before = dict(crash.events)
            counters = crash.round(number)
            events = {name: n - before.get(name, 0) for name, n in crash.events.items()}
            told = ", ".join(f"{n} {name}" for name, n in events.items())
            print(f"ok {number + 1} - {told}; {counters['requests']} requests", flush=True)
        crash.check_leftovers()
        print(f"ok {args.rounds + 1} - nothing is left over", flush=True)
        enough(counters, crash.events)
        print(f"ok {args.rounds + 2} - everything happened: {dict(crash.events)}")
        print("# " + ", ".join(f"{n} {name}" for name, n in counters.items()))
        return 0
    except Fault as fault:
        print(f"not ok - {fault}", flush=True)
        with contextlib.suppress(Fault):
            crash.check_violations()
            return 1
        print("# " + "\n# ".join(crash.violations.read_text().splitlines()[:20]))
        return 1
    finally:
        crash.close()


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=24, help="of each round, beside its checks")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--kills-per-second", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--set", action="append", default=[], help="an option of the cache, name=number")
    parser.add_argument("--place", help="where the directory is made (default: the system's temporary directory)")
    parser.add_argument("--keep", action="store_true", help="keep the directory")
    parser.add_argument("--without-directory", action="store_true", help="nothing is shared: the checks must fail")
    return parser.parse_args(given)


if __name__ == "__main__":
    if not pathlib.Path(WORKER).exists():
        sys.exit(f"{os.path.relpath(WORKER, ROOT)} is not built: run `make test-crash`")
    sys.exit(run(arguments()))
