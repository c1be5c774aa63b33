"""A load generator that knows what every answer must be."""

import collections
import http.client
import itertools
import random
import re
import sqlite3
import threading
import time
from urllib.parse import quote, urlencode

from servers import DATABASE, Client

SEED = 31
# Far below the time-out of a render: what takes longer has waited for somebody who is gone.
SLOW_SECONDS = 20
# What an edit changes: the text of a synset, and with it the page of one word.
SYNSETS = ["02124272-n", "02377103-n", "01542214-n", "02086723-n"]
EDITED = ["/synset/" + key for key in SYNSETS]


def words():
    """Addresses of words, in an order that is always the same; none of them shows a synset that is edited."""
    with sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True) as db:
        edited = "SELECT e.word FROM senses e JOIN synsets s ON s.id = e.synset WHERE s.key IN (?, ?, ?, ?)"
        query = f"SELECT lemma FROM words WHERE id NOT IN ({edited}) AND lemma NOT GLOB '*[^a-z_]*' ORDER BY id"
        lemmas = [lemma for (lemma,) in db.execute(query, SYNSETS)]
    return ["/word/" + quote(lemma) for lemma in random.Random(SEED).sample(lemmas, 20_000)]


WORDS = words()
PAGES = WORDS[:400]


class Target:
    """A server, as clients see it. Its port stays the same when it is started again."""

    def __init__(self, name):
        self.name = name
        self.port = None
        self.token = None
        self.is_killed = False  # whether its processes are killed now and then

    def get(self, path):
        """A request on a connection of its own: whichever worker takes it."""
        with Client(self.port) as client:
            return client.get(path)


class Load:
    """Clients of all servers, and one writer."""

    def __init__(self, targets):
        self.targets = targets
        self.random = random.Random(SEED)
        self.answers = 0
        self.broken = 0
        self._faults = []
        self._lock = threading.Lock()
        self._bodies = {}
        self._written = collections.Counter()
        self._acknowledged = collections.Counter()
        self._fresh = itertools.count(len(PAGES))
        self._new = PAGES[0]
        self._threads = []
        self._stopping = threading.Event()

    def check(self):
        """No answer was wrong."""
        if self._faults:
            raise AssertionError(f"{len(self._faults)} faults:\n" + "\n".join(self._faults[:20]))

    def new_pages(self, count):
        """Pages that nobody has asked for."""
        return [WORDS[next(self._fresh) % len(WORDS)] for _ in range(count)]

    def crowd(self, paths, clients):
        """All clients ask for all pages in nearly the same order, of any server each. How many answers came."""
        before = self.answers
        ready = threading.Barrier(clients)

        def ask_all(number):
            own = random.Random(number)
            connections = Connections(self.targets)
            mine = sorted(paths, key=lambda path: paths.index(path) + own.random() * 8)
            ready.wait()
            for path in mine:
                self._request(connections, own.choice(self.targets), path)
            connections.close()

        self._run(ask_all, clients)
        for thread in self._threads:
            thread.join()
        self._threads = []
        return self.answers - before

    def start(self, paths, clients, new=0.0):
        """Clients that ask for these pages and the edited ones until `stop`, so often for one that is new to all."""
        self._stopping.clear()

        def ask_on(number):
            own = random.Random(number)
            connections = Connections(self.targets)
            while not self._stopping.is_set():
                path = own.choice(EDITED) if own.random() < 0.2 else own.choice(paths)
                if own.random() < new:
                    path = self._newest(own)
                self._request(connections, own.choice(self.targets), path)
            connections.close()

        self._run(ask_on, clients)

    def _newest(self, own):
        """One of a few pages that change all the time, so that several clients are the first to ask for each."""
        if own.random() < 0.2:
            self._new = self.new_pages(1)[0]
        return self._new

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def ask(self, path):
        """One request of any server."""
        connections = Connections(self.targets)
        self._request(connections, self.random.choice(self.targets), path)
        connections.close()

    def edit(self):
        """An edit through one server; then every server is asked at once, twice. How long each of them took."""
        key = self.random.choice(SYNSETS)
        self._write(key)
        path, took = f"/synset/{key}", []
        connections = Connections(self.targets)
        for target in self.random.sample(self.targets, len(self.targets)) * 2:
            begin = time.monotonic()
            self._request(connections, target, path)
            took.append(time.monotonic() - begin)
        connections.close()
        return took

    def edit_unseen(self):
        """An edit of every synset; nobody asks."""
        for key in SYNSETS:
            self._write(key)

    def _write(self, key):
        self._written[key] += 1
        number = self._written[key]
        while True:
            # Where the connection breaks, nobody knows whether it was done: it is done again.
            target = self.random.choice(self.targets)
            form = urlencode({"text": f"version {number}.", "token": target.token})
            headers = {"content-type": "application/x-www-form-urlencoded"}
            try:
                with Client(target.port) as client:
                    answer = client.request("POST", f"/admin/synset/{key}", headers, form)
            except (OSError, http.client.HTTPException) as error:
                self._breaks(target, f"edit of {key}", error)
                continue
            if answer.status != 303:
                self._fault(f"{target.name}: the edit of {key} was answered with {answer.status}")
            self._acknowledged[key] = number
            return

    def _request(self, connections, target, path):
        """One right answer. Where a connection breaks because of a kill, it is asked again."""
        key = path.removeprefix("/synset/") if path in EDITED else None
        while True:
            begin = time.monotonic()
            least = self._acknowledged[key] if key else 0
            try:
                answer = connections.get(target, path)
            except (OSError, http.client.HTTPException) as error:
                connections.drop(target)
                if not self._breaks(target, path, error):
                    return
                continue
            seconds = time.monotonic() - begin
            if seconds > SLOW_SECONDS:
                self._fault(f"{target.name}: {path} ({answer.status} {answer.cache}): after {seconds:.1f} s")
            with self._lock:
                self.answers += 1
            wrong = self._wrong(path, key, least, answer)
            if wrong:
                self._fault(f"{target.name}: {path} ({answer.status} {answer.cache}): {wrong}")
            return

    def _wrong(self, path, key, least, answer):
        if answer.status != 200:
            return "no page"
        if key is None:
            with self._lock:
                known = self._bodies.setdefault(path, answer.body)
            return None if answer.body == known else "another body than before"
        found = re.search(r"version (\d+)\.", answer.text)
        number = int(found.group(1)) if found else 0
        return None if number >= least else f"version {number}, though {least} was acknowledged"

    def _breaks(self, target, what, error):
        """A broken connection is right where processes are killed."""
        if not target.is_killed:
            self._fault(f"{target.name}: {what}: {type(error).__name__}: {error}")
            return False
        with self._lock:
            self.broken += 1
        time.sleep(0.01)
        return True

    def _fault(self, text):
        with self._lock:
            self._faults.append(text)

    def _run(self, work, clients):
        def guarded(number):
            try:
                work(number)
            except Exception as error:
                self._fault(f"client {number}: {type(error).__name__}: {error}")

        self._threads = [threading.Thread(target=guarded, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()


class Connections:
    """One kept connection to each server."""

    def __init__(self, targets):
        self._open = dict.fromkeys(targets)

    def get(self, target, path):
        if self._open[target] is None:
            self._open[target] = Client(target.port)
        return self._open[target].get(path)

    def drop(self, target):
        if self._open[target] is not None:
            self._open[target].close()
        self._open[target] = None

    def close(self):
        for target in self._open:
            self.drop(target)
