"""Starts the three example servers and talks to them. Used by demo.py and by the tests."""

import collections
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
DATABASE = ROOT / "build" / "site.sqlite"
TEMPLATES = ROOT / "examples" / "site" / "templates"

COMMANDS = {
    "c": [str(ROOT / "build" / "examples" / "site-server")],
    "python": [sys.executable, str(ROOT / "examples" / "python" / "server.py")],
    "node": ["node", str(ROOT / "examples" / "node" / "server.mjs")],
}

START_SECONDS = 30
STOP_SECONDS = 10


class ServerError(Exception):
    """A server did not start, or died. The message has what it printed last."""


class Answer:
    """What a server answered."""

    def __init__(self, status, headers, body, seconds):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body
        self.seconds = seconds  # from the request to the last byte

    @property
    def cache(self):
        return self.headers.get("x-isr-cache", "-")

    @property
    def text(self):
        return self.body.decode("utf-8")


class Client:
    """One connection that is kept open. Not for several threads."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(self, method, path, headers=None, body=None):
        begin = time.perf_counter()
        self._connection.request(method, path, body=body, headers=headers or {})
        response = self._connection.getresponse()
        data = response.read()
        seconds = time.perf_counter() - begin
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, data, seconds)

    def get(self, path, **headers):
        """`if_none_match="..."` becomes the header if-none-match."""
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def connect(self):
        self._connection.connect()

    def close(self):
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Home:
    """What the servers of a site share: a copy of the database, for the edits, and a log of all renders and loads."""

    def __init__(self, folder, database=DATABASE):
        self.database = Path(folder) / "site.sqlite"
        shutil.copyfile(database, self.database)
        self.directory = Path(folder) / "cache"
        self.log = Path(folder) / "renders"
        self.log.touch()

    def renders(self, path=None):
        """How many renders there have been on the machine, in whichever server: of this path, or of all.

        A data entry's key in place of a path: how many loads.
        """
        counts = self.all_renders()
        return counts.total() if path is None else counts[path]

    def all_renders(self):
        """How many there have been of each path."""
        return collections.Counter(self.log.read_text("utf-8").splitlines())


class Server:
    """One server process on a free port of 127.0.0.1."""

    def __init__(self, name, home, *args):
        """`args`: further ones of its command line."""
        self.name = name
        self.home = home
        self.token = secrets.token_urlsafe(16)
        shared = ["--db", str(home.database), "--templates", str(TEMPLATES), "--render-log", str(home.log)]
        self._lines = collections.deque(maxlen=40)
        self._news = threading.Condition()
        try:
            self._is_asked_to_end = False
            self.process = subprocess.Popen(
                [*COMMANDS[name], "--port", "0", *shared, *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"SITE_ADMIN_TOKEN": self.token},
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops the servers in order
            )
        except OSError as error:
            raise ServerError(f"the {name} server could not be started: {error}") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = None
        self.prerendered = None

    def wait_until_ready(self):
        """Until it listens and has rendered its static pages."""
        self.port = int(self._wait_for(r"listening on http://127\.0\.0\.1:(\d+)").group(1))
        self.prerendered = int(self._wait_for(r"prerendered (\d+) pages").group(1))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self):
        return Client(self.port)

    def get(self, path, **headers):
        """A request on a connection of its own."""
        with self.client() as client:
            return client.get(path, **headers)

    def post(self, path, **form):
        """A form, with the admin token."""
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": self.url}
        body = urlencode(form | {"token": self.token})
        with self.client() as client:
            return client.request("POST", path, headers, body)

    def pending(self):
        """How many pages are being rendered for its visitors at this moment, here or in another process."""
        return json.loads(self.get("/stats").text)["pending"]

    def kill(self):
        """kill -9, of all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    def check_alive(self):
        if self.process.poll() is not None:
            self._reader.join(5)
            raise ServerError(f"the {self.name} server ended with status {self.process.returncode}:\n{self.output()}")

    def output(self):
        """The last lines that it printed."""
        with self._news:
            return "\n".join(f"    {line}" for line in self._lines) or "    (it printed nothing)"

    def ask_to_end(self):
        # Once: Python, on its way out, has the system's handlers back, and would die of a second signal.
        if self.process.poll() is None and not self._is_asked_to_end:
            self._is_asked_to_end = True
            self.process.terminate()

    def stop(self):
        """Asks it to end, and ends it by force where it does not. Whether it ended by itself, with status 0."""
        self.ask_to_end()
        try:
            return self.process.wait(STOP_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _wait_for(self, pattern):
        deadline = time.monotonic() + START_SECONDS
        while True:
            with self._news:
                for line in self._lines:
                    if found := re.search(pattern, line):
                        return found
                self._news.wait(0.1)
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the {self.name} server did not print {pattern!r} in {START_SECONDS} s:\n{self.output()}"
                )


class Fleet:
    """Servers of one site, with one directory."""

    def __init__(self, names, home):
        self.names = names
        self.home = home
        self.servers = []
        self._started = []

    def begin(self):
        self.servers = self.start()

    def start(self, *args, names=None):
        """Servers that are ready, started all at the same time."""
        started = []
        for name in names or self.names:
            started.append(Server(name, self.home, "--directory", str(self.home.directory), *args))
            self._started.append(started[-1])
        for server in started:
            server.wait_until_ready()
        return started

    def replace(self, server):
        """Starts another in place of one that has ended."""
        [new] = self.start(names=[server.name])
        self.servers = [new if other is server else other for other in self.servers]
        return new

    def stop(self, servers):
        """Stops servers at the same time; an error if one does not end in good order."""
        for server in servers:
            server.ask_to_end()
        for server in servers:
            if not server.stop():
                raise ServerError(f"the {server.name} server did not end well:\n{server.output()}")

    def restart(self):
        self.stop(self.servers)
        self.begin()

    def end(self):
        """Stops all that run; an error if one does not end in good order."""
        self.stop([server for server in self._started if server.process.poll() is None])

    def abandon(self):
        """Ends all that run, however."""
        for server in self._started:
            server.stop()
