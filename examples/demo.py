#!/usr/bin/env python3
"""The story of a page, told by three servers: C++, Python and Node serve one site through libisr.

Starts them on free ports of 127.0.0.1 and checks each line that it prints. Then prints their addresses and stays until
Ctrl-C. With --once it ends by itself; the status is 0 only if every line came out as said.
"""

import argparse
import contextlib
import json
import re
import signal
import statistics
import sys
import tempfile
import threading
import time

from servers import COMMANDS, DATABASE, Client, Server, ServerError

CLIENTS = 200
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 20

SAME_PAGES = (
    "/ /blog /blog/1 /blog/5 /blog/12 /blog/15 /blog/26 /blog/27 /about/site /about/wordnet /about/nothing /word/dog "
    "/word/break /word/24%2F7 /word/o'clock /word/will-o'-the-wisp /word/a.m. /word/hot_dog /word/paris /word/tcp%2Fip "
    "/word/1850s /word/entity /word/no_such_word /word/caf%C3%A9 /synset/00001740-n /synset/02086723-n /synset/x"
).split()


def ms(seconds):
    return f"{seconds * 1e3:.1f} ms"


def us(seconds):
    return f"{seconds * 1e6:.0f} µs"


def number_of(answer, name):
    return json.loads(answer.text)[name]


class Stopped(Exception):
    """Ctrl-C, or a request to end."""


class Report:
    """Prints one line for each claim, and remembers the wrong ones."""

    def __init__(self):
        self.claims = 0
        self.failed = []

    def title(self, text):
        print(f"\n{text}\n{'-' * len(text)}", flush=True)

    def line(self, ok, claim, detail=""):
        self.claims += 1
        if not ok:
            self.failed.append(claim)
        print(f"  {'✓' if ok else '✗'} {claim:<58} {detail}", flush=True)


class Story:
    """The walk through one server. Each step checks what it says."""

    def __init__(self, server, report):
        self.server = server
        self.client = server.client()
        self.say = report.line

    def tell(self):
        for step in (
            self.first_visit,
            self.conditional,
            self.one_path,
            self.static_params,
            self.closed_route,
            self.not_found,
            self.deadline,
            self.edit_post,
            self.edit_synset,
            self.failure,
            self.stampede,
            self.others_go_on,
        ):
            self.server.check_alive()
            try:
                step()
            except (OSError, ValueError, KeyError, AttributeError) as error:
                self.say(False, f"{step.__name__} broke off", f"{type(error).__name__}: {error}")
                self.client.close()
        self.client.close()

    def renders(self):
        """How many renders the server has counted in its own callbacks."""
        return number_of(self.server.get("/stats"), "origin_renders")

    def until(self, path, wanted):
        """Asks until an answer is as wanted, or patience ends. The last answer."""
        last = []

        def ask():
            last[:] = [self.client.get(path)]
            return wanted(last[0])

        self.polled(ask)
        return last[0]

    def polled(self, true):
        """Whether it becomes true before patience ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def first_visit(self):
        before = self.renders()
        first = self.client.get("/word/serendipity")
        rendered = first.status == 200 and first.cache == "MISS" and self.renders() == before + 1
        self.say(rendered, "the first visitor of a word waits for its render", f"{first.cache}  {ms(first.seconds)}")
        hits = [self.client.get("/word/serendipity") for _ in range(200)]
        same = all(hit.cache == "HIT" and hit.body == first.body for hit in hits)
        median = us(statistics.median(hit.seconds for hit in hits))
        one = self.renders() == before + 1
        self.say(same and one, "the next 200 get the stored page", f"HIT   {median} each, and no render")

    def conditional(self):
        page = self.client.get("/word/serendipity")
        etag = page.headers["etag"]
        again = self.client.get("/word/serendipity", if_none_match=etag)
        ok = again.status == 304 and again.body == b"" and again.headers["etag"] == etag
        self.say(ok, "with if-none-match there is nothing to send", f"304   etag {etag}")
        head = self.client.request("HEAD", "/word/serendipity")
        ok = head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(page.body))
        self.say(
            ok, "HEAD has the headers of GET and no body", f"200   content-length {head.headers['content-length']}"
        )

    def one_path(self):
        first = self.client.get("/word/24%2f7?from=somewhere")
        again = self.client.get("/word/24%2F7")
        ok = first.cache == "MISS" and again.cache == "HIT" and b"<h1>24/7</h1>" in again.body
        self.say(ok, "/word/24%2f7?from=somewhere and /word/24%2F7 are one page", f"{first.cache}, {again.cache}")

    def static_params(self):
        known = self.client.get("/blog/25")
        self.say(known.cache == "HIT", "/blog/25 is listed: rendered before anybody asked", known.cache)
        first, again = self.client.get("/blog/26"), self.client.get("/blog/26")
        ok = (first.status, first.cache, again.cache) == (200, "MISS", "HIT")
        self.say(ok, "/blog/26 is not listed: rendered when somebody asks", f"{first.cache}, {again.cache}")

    def closed_route(self):
        before = self.renders()
        known, other = self.client.get("/about/site"), self.client.get("/about/secret")
        ok = known.status == 200 and (other.status, other.cache) == (404, "BYPASS") and self.renders() == before
        self.say(ok, "the closed route /about/[page] knows two pages, no other", f"{other.status}   and no render")

    def not_found(self):
        first, again = self.client.get("/word/zzyzx"), self.client.get("/word/zzyzx")
        ok = (first.status, first.cache, again.status, again.cache) == (404, "MISS", 404, "HIT")
        self.say(ok, "a word that is not there is remembered, too", f"{first.status}   {first.cache}, {again.cache}")

    def deadline(self):
        # Whatever its state is, a page that has just been regenerated is fresh for two seconds from now.
        fresh = self.until("/moment", lambda a: a.cache == "HIT" and a.headers["age"] == "0")
        begin = time.monotonic()
        late = self.until("/moment", lambda a: a.cache == "STALE")
        waited = time.monotonic() - begin
        ok = late.cache == "STALE" and late.body == fresh.body and waited > 1
        self.say(ok, "after its deadline the page is served once more, at once", f"STALE {us(late.seconds)}")
        new = self.until("/moment", lambda a: a.body != late.body)
        self.say(
            new.body != late.body,
            "meanwhile it was regenerated in the background",
            f"{new.cache}   {word_of(late)} -> {word_of(new)}",
        )

    def edit_post(self):
        text = "Edited a moment ago, <safely> & “soundly”."
        self.client.get("/blog/7")
        before = self.client.get("/blog/7")
        saved = self.server.post("/admin/post/7", text=text)
        after, again = self.client.get("/blog/7"), self.client.get("/blog/7")
        shown = "Edited a moment ago, &lt;safely&gt; &amp; “soundly”."
        ok = before.cache == "HIT" and shown not in before.text and saved.status == 303
        ok = ok and after.cache == "REVALIDATED" and shown in after.text and again.cache == "HIT"
        detail = f"{before.cache}, edit, {after.cache} {ms(after.seconds)}, {again.cache}"
        self.say(ok, "an edit and its tag: the next request has the new text", detail)
        with self.server.client() as stranger:
            form = {"content-type": "application/x-www-form-urlencoded"}
            refused = stranger.request("POST", "/admin/post/7", form, "text=x&token=guess").status
            foreign = form | {"origin": "http://elsewhere.example"}
            cross = stranger.request("POST", "/admin/post/7", foreign, f"text=x&token={self.server.token}").status
        unchanged = self.client.get("/blog/7").body == after.body
        self.say(
            (refused, cross) == (403, 403) and unchanged,
            "an edit without the token or from elsewhere is refused",
            "403",
        )

    def edit_synset(self):
        paths = ["/word/dog", "/word/domestic_dog", "/synset/02086723-n"]
        for path in paths:
            self.client.get(path)
        text = "the animal that all of these pages define"
        self.server.post("/admin/synset/02086723-n", text=text)
        pages = [self.client.get(path) for path in paths]
        ok = all(page.cache == "REVALIDATED" and text in page.text for page in pages)
        other = self.client.get("/word/serendipity").cache
        words = ", ".join(page.cache for page in pages)
        self.say(ok and other == "HIT", "one tag reaches every page with that definition", f"{words}; others {other}")

    def failure(self):
        self.client.get("/blog/8")
        good = self.client.get("/blog/8")
        self.server.post("/admin/fail?on=1")
        try:
            self.server.post("/admin/post/8", text="Not to be seen while renders fail.")
            kept = self.client.get("/blog/8")
            ok = (kept.status, kept.cache) == (200, "STALE-ERROR") and kept.body == good.body
            self.say(ok, "renders fail: the last good page stays", f"{kept.status}   {kept.cache}")
            cold = self.client.get("/word/quark")
            self.say(cold.status == 500, "renders fail: a page that was never there is an error", f"{cold.status}")
        finally:
            self.server.post("/admin/fail?on=0")
        self.server.post("/admin/post/8", text="Renders work again.")
        healed = self.client.get("/blog/8")
        ok = healed.cache == "REVALIDATED" and "Renders work again." in healed.text
        self.say(ok, "renders work again: so does the next request", f"{healed.status}   {healed.cache}")

    def stampede(self):
        self.server.post("/admin/slow?ms=300")
        try:
            before = self.renders()
            answers = crowd(self.server.port, "/word/library", CLIENTS)
            rendered = self.renders() - before
        finally:
            self.server.post("/admin/slow?ms=0")
        good = [a for a in answers if a.status == 200 and a.body == answers[0].body]
        ok = len(good) == CLIENTS and rendered == 1
        slowest = ms(max(a.seconds for a in answers))
        detail = f"{len(good)} answers, {rendered} render (of 300 ms), the last after {slowest}"
        self.say(ok, f"{CLIENTS} clients ask for one cold page", detail)

    def others_go_on(self):
        self.server.post("/admin/slow?ms=1000")
        try:
            before = self.renders()
            waiting = threading.Thread(target=self.server.get, args=("/word/umbrella",))
            waiting.start()
            begun = self.polled(lambda: self.renders() == before + 1)
            hits = [self.client.get("/word/serendipity") for _ in range(20)]
            during = waiting.is_alive()
            waiting.join()
        finally:
            self.server.post("/admin/slow?ms=0")
        ok = begun and during and all(hit.cache == "HIT" for hit in hits)
        median = us(statistics.median(hit.seconds for hit in hits))
        self.say(ok, "while one visitor waits, others get stored pages at once", f"HIT   {median} each")


def word_of(answer):
    found = re.search(r"<h1><a href=\"[^\"]*\">([^<]*)", answer.text)
    return f"“{found.group(1)}”" if found else "?"


def crowd(port, path, size):
    """As many connections, opened first; then all ask at once."""
    answers, errors = [], []
    ready = threading.Barrier(size)

    def ask():
        try:
            with Client(port) as client:
                client.connect()
                ready.wait(30)
                answers.append(client.get(path))
        except (OSError, threading.BrokenBarrierError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not answers:
        raise OSError(f"no client of {size} got an answer: {errors[0]}")
    return answers


def same_bytes(servers, report):
    """Every server gives the same pages."""
    different = []
    size = 0
    for path in SAME_PAGES:
        answers = [server.get(path) for server in servers]
        size += len(answers[0].body)
        if len({(a.status, a.body, a.headers.get("etag"), a.headers.get("content-type")) for a in answers}) != 1:
            different.append(path)
    names = ", ".join(server.name for server in servers)
    detail = f"{size:,} bytes each" if not different else "different: " + " ".join(different)
    report.line(not different, f"{len(SAME_PAGES)} pages are the same from {names}", detail)


def run(servers, args):
    """The whole demo. The exit status."""
    report = Report()
    for server in servers:
        server.wait_until_ready()
    for server in servers:
        report.title(f"{server.name}  {server.url}")
        Story(server, report).tell()
    if len(servers) > 1:
        report.title("all")
        same_bytes(servers, report)
    good = report.claims - len(report.failed)
    print(f"\n{good} of {report.claims} claims came out as said.", flush=True)
    for claim in report.failed:
        print(f"  wrong: {claim}")
    if not args.once:
        print("\nThe servers are up until Ctrl-C:")
        for server in servers:
            print(f"  {server.name:<8}{server.url}/   admin token: {server.token}")
        sys.stdout.flush()
        with contextlib.suppress(Stopped):
            while True:
                time.sleep(0.5)
                for server in servers:
                    server.check_alive()
    return 1 if report.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the story, with status 0 if every line held")
    parser.add_argument("--only", metavar="NAMES", default=",".join(COMMANDS), help="some of c,python,node")
    args = parser.parse_args()
    names = args.only.split(",")
    for name in names:
        if name not in COMMANDS:
            parser.error(f"--only takes {', '.join(COMMANDS)}; got {name!r}")
    if not DATABASE.exists():
        parser.error(f"{DATABASE} is missing: `make demo` imports it")
    sys.stdout.reconfigure(errors="replace")

    def stop(number, _frame):
        raise Stopped(signal.Signals(number).name)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    servers = []
    with tempfile.TemporaryDirectory(prefix="libisr-demo-") as folder, contextlib.ExitStack() as stack:
        try:
            for name in names:
                servers.append(Server(name, folder))
                stack.callback(servers[-1].stop)
            status = run(servers, args)
            for server in servers:
                if not server.stop():
                    print(f"the {server.name} server did not end well:\n{server.output()}", file=sys.stderr)
                    status = 1
            return status
        except ServerError as error:
            print(f"\ndemo: {error}", file=sys.stderr)
        except Stopped as error:
            print(f"\ndemo: stopped by {error} before the end of the story", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
