"""What one server tells in the demo: the life of its pages."""

import re
import statistics
import threading
import time

from telling import crowd, ms, polled, us

CLIENTS = 200

# Each server has words of its own: in one directory, what one has rendered is a hit for all.
USES = "visited", "missing", "failing", "crowded", "waiting"
WORDS = {
    "c": ("serendipity", "zzyzx", "quark", "library", "umbrella"),
    "python": ("quintessence", "zzyzy", "gluon", "museum", "parasol"),
    "node": ("epiphany", "zzyzz", "boson", "theater", "raincoat"),
}


class Story:
    """The walk through one server. Each step checks what it says."""

    def __init__(self, server, report, is_first):
        """`is_first`: no other server has told this before."""
        self.server = server
        self.client = server.client()
        self.say = report.line
        self.is_first = is_first
        self.paths = {use: f"/word/{word}" for use, word in zip(USES, WORDS[server.name], strict=True)}

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

    def renders(self, path=None):
        """How many renders all servers have counted in their own callbacks."""
        return self.server.home.renders(path)

    def until(self, path, wanted):
        """Asks until an answer is as wanted, or patience ends. The last answer."""
        last = []

        def ask():
            last[:] = [self.client.get(path)]
            return wanted(last[0])

        polled(ask)
        return last[0]

    @property
    def cold(self):
        """What the first request for a page is here that every server tells of."""
        return "MISS" if self.is_first else "HIT"

    def first_visit(self):
        path = self.paths["visited"]
        first = self.client.get(path)
        rendered = first.status == 200 and first.cache == "MISS" and self.renders(path) == 1
        self.say(rendered, "the first visitor of a word waits for its render", f"{first.cache}  {ms(first.seconds)}")
        hits = [self.client.get(path) for _ in range(200)]
        same = all(hit.cache == "HIT" and hit.body == first.body for hit in hits)
        median = us(statistics.median(hit.seconds for hit in hits))
        one = self.renders(path) == 1
        self.say(same and one, "the next 200 get the stored page", f"HIT   {median} each, and no render")

    def conditional(self):
        path = self.paths["visited"]
        page = self.client.get(path)
        etag = page.headers["etag"]
        again = self.client.get(path, if_none_match=etag)
        ok = again.status == 304 and again.body == b"" and again.headers["etag"] == etag
        self.say(ok, "with if-none-match there is nothing to send", f"304   etag {etag}")
        head = self.client.request("HEAD", path)
        ok = head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(page.body))
        self.say(
            ok, "HEAD has the headers of GET and no body", f"200   content-length {head.headers['content-length']}"
        )

    def one_path(self):
        first = self.client.get("/word/24%2f7?from=somewhere")
        again = self.client.get("/word/24%2F7")
        ok = first.cache == self.cold and again.cache == "HIT" and b"<h1>24/7</h1>" in again.body
        ok = ok and self.renders("/word/24%2F7") == 1
        self.say(ok, "/word/24%2f7?from=somewhere and /word/24%2F7 are one page", f"{first.cache}, {again.cache}")

    def static_params(self):
        known = self.client.get("/blog/25")
        self.say(known.cache == "HIT", "/blog/25 is listed: rendered before anybody asked", known.cache)
        first, again = self.client.get("/blog/26"), self.client.get("/blog/26")
        ok = (first.status, first.cache, again.cache) == (200, self.cold, "HIT") and self.renders("/blog/26") == 1
        claim = "rendered when somebody asks" if self.is_first else "rendered when somebody asked"
        self.say(ok, f"/blog/26 is not listed: {claim}", f"{first.cache}, {again.cache}")

    def closed_route(self):
        before = self.renders()
        known, other = self.client.get("/about/site"), self.client.get("/about/secret")
        ok = known.status == 200 and (other.status, other.cache) == (404, "BYPASS") and self.renders() == before
        self.say(ok, "the closed route /about/[page] knows two pages, no other", f"{other.status}   and no render")

    def not_found(self):
        first, again = (self.client.get(self.paths["missing"]) for _ in range(2))
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
        text = f"Edited through {self.server.name}, <safely> & “soundly”."
        self.client.get("/blog/7")
        before = self.client.get("/blog/7")
        saved = self.server.post("/admin/post/7", text=text)
        after, again = self.client.get("/blog/7"), self.client.get("/blog/7")
        shown = f"Edited through {self.server.name}, &lt;safely&gt; &amp; “soundly”."
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
        text = f"the animal that all of these pages define, says {self.server.name}"
        self.server.post("/admin/synset/02086723-n", text=text)
        pages = [self.client.get(path) for path in paths]
        ok = all(page.cache == "REVALIDATED" and text in page.text for page in pages)
        other = self.client.get(self.paths["visited"]).cache
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
            cold = self.client.get(self.paths["failing"])
            self.say(cold.status == 500, "renders fail: a page that was never there is an error", f"{cold.status}")
        finally:
            self.server.post("/admin/fail?on=0")
        text = f"Renders work again in {self.server.name}."
        self.server.post("/admin/post/8", text=text)
        healed = self.client.get("/blog/8")
        ok = healed.cache == "REVALIDATED" and text in healed.text
        self.say(ok, "renders work again: so does the next request", f"{healed.status}   {healed.cache}")

    def stampede(self):
        self.server.post("/admin/slow?ms=300")
        try:
            answers = crowd([self.server.port], self.paths["crowded"], CLIENTS)
            rendered = self.renders(self.paths["crowded"])
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
            path = self.paths["waiting"]
            waiting = threading.Thread(target=self.server.get, args=(path,))
            waiting.start()
            begun = polled(lambda: self.renders(path) == 1)
            hits = [self.client.get(self.paths["visited"]) for _ in range(20)]
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
