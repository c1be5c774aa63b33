"""What all servers tell together in the demo: one directory makes one cache of them."""

import threading
import time

from telling import crowd, ms, polled

CLIENTS = 200

# Pages that nobody has asked for yet: each is rendered by another server.
COLD = (
    "/word/hot_dog /word/o'clock /word/will-o'-the-wisp /word/a.m. /word/tcp%2Fip /word/1850s /word/entity /word/paris "
    "/word/alpha /word/beta /word/gamma /word/delta /word/epsilon /word/zeta /word/eta /word/theta /word/iota "
    "/word/kappa /word/lambda /synset/00001740-n /synset/02084442-n /word/no_such_word /synset/x /blog/99"
).split()
CROWDED = "/word/stampede"
KILLED = "/word/kaleidoscope"
EDITED = "02124272-n", ["/word/cat", "/word/true_cat", "/synset/02124272-n"]
EDITED_BEFORE_STOP = "02377103-n", ["/word/horse", "/word/equus_caballus", "/synset/02377103-n"]


def bytes_of(answer):
    """What must be the same wherever a page comes from."""
    names = ("etag", "content-type", "location")
    return answer.status, answer.body, *(answer.headers.get(name) for name in names)


class MachineStory:
    """The walk through all servers. Each step checks what it says."""

    def __init__(self, fleet, report):
        self.fleet = fleet
        self.home = fleet.home
        self.say = report.line

    @property
    def servers(self):
        return self.fleet.servers

    def after(self, n):
        """The servers, from the n-th on and round again."""
        n %= len(self.servers)
        return self.servers[n:] + self.servers[:n]

    def start(self):
        """To be told first: the servers were started at the same time, on an empty directory."""
        listed = ["/", "/blog", "/blog/latest", "/about/site", "/about/wordnet", *(f"/blog/{n}" for n in range(1, 26))]
        once = [path for path in listed if self.home.renders(path) == 1]
        shares = " + ".join(str(server.prerendered) for server in self.servers)
        loads = self.home.renders("counts")
        detail = f"{len(listed)} pages, {shares} renders (those of /moment among them), {loads} load of the counts"
        self.say(once == listed and loads == 1, "all start at once: a listed page is rendered by one", detail)

    def tell(self):
        for step in (
            self.cold_pages,
            self.status_pages,
            self.edit,
            self.stampede,
            self.killed,
            self.deployments,
            self.restart,
        ):
            for server in self.servers:
                server.check_alive()
            try:
                step()
            except (OSError, ValueError, KeyError, AttributeError) as error:
                self.say(False, f"{step.__name__} broke off", f"{type(error).__name__}: {error}")

    def rendered_by_one(self, path, n):
        """The n-th server renders a page, the others have it: the answers."""
        first, *others = (server.get(path) for server in self.after(n))
        same = all(bytes_of(other) == bytes_of(first) for other in others)
        words = [first.cache, *(other.cache for other in others)]
        ok = same and words == ["MISS"] + ["HIT"] * len(others) and self.home.renders(path) == 1
        return ok, [first, *others]

    def write(self, synset, text):
        """An edit, through the first server."""
        answer = self.servers[0].post(f"/admin/synset/{synset}", text=text)
        if answer.status != 303:
            raise ValueError(f"the edit of {synset} was answered with {answer.status}")

    def cold_pages(self):
        told = [self.rendered_by_one(path, n) for n, path in enumerate(COLD)]
        size = sum(len(answers[0].body) for _, answers in told)
        wrong = [path for path, (ok, _) in zip(COLD, told, strict=True) if not ok]
        detail = f"{size:,} bytes, {len(COLD)} renders" if not wrong else "wrong: " + " ".join(wrong)
        self.say(not wrong, f"{len(COLD)} pages, each rendered by one: the same bytes from all", detail)

    def status_pages(self):
        ok, missing = self.rendered_by_one("/word/nowhere_to_be_found", 1)
        words = ", ".join(answer.cache for answer in missing)
        self.say(ok and missing[0].status == 404, "a word that is not there, for all of them", f"404   {words}")
        moved = [server.get("/blog/latest") for server in self.servers]
        where = {(answer.status, answer.headers.get("location")) for answer in moved}
        ok = where == {(307, "/blog/26")} and len({bytes_of(answer) for answer in moved}) == 1
        self.say(ok, "a redirect", f"307   to {moved[0].headers.get('location')}")

    def edit(self):
        synset, paths = EDITED
        for server in self.servers:
            for path in paths:
                server.get(path)
        warm = all(server.get(path).cache == "HIT" for server in self.servers for path in paths)
        text = "what one server wrote and every other shows at the very next request"
        self.write(synset, text)
        # Another server for each page, the one that was told of the edit last.
        askers = self.after(1)
        first = [askers[n % len(askers)].get(path) for n, path in enumerate(paths)]
        ok = warm and all(answer.cache == "REVALIDATED" and text in answer.text for answer in first)
        names = ", ".join(f"{askers[n % len(askers)].name} {answer.cache}" for n, answer in enumerate(first))
        self.say(ok, f"an edit through {self.servers[0].name}: expired in all at the next request", names)
        again = [server.get(path) for server in self.servers for path in paths]
        ok = all(answer.cache == "HIT" and text in answer.text for answer in again)
        self.say(ok, "and rendered once for all of them", "HIT   everywhere")

    def stampede(self):
        for server in self.servers:
            server.post("/admin/slow?ms=300")
        try:
            answers = crowd([server.port for server in self.servers], CROWDED, CLIENTS)
        finally:
            for server in self.servers:
                server.post("/admin/slow?ms=0")
        good = [answer for answer in answers if answer.status == 200 and answer.body == answers[0].body]
        rendered = self.home.renders(CROWDED)
        slowest = ms(max(answer.seconds for answer in answers))
        detail = f"{len(good)} answers, {rendered} render (of 300 ms), the last after {slowest}"
        self.say(len(good) == CLIENTS and rendered == 1, f"{CLIENTS} clients of all servers on one cold page", detail)

    def killed(self):
        """kill -9 in the middle of a render for which the other servers wait."""
        victim, others = self.servers[-1], self.servers[:-1]
        if not others:
            return
        victim.post("/admin/slow?ms=30000")
        lost = threading.Thread(target=self.ask_in_vain, args=(victim,))
        lost.start()
        begun = polled(lambda: self.home.renders(KILLED) == 1)
        answers = []
        waiting = [threading.Thread(target=lambda s=s: answers.append(s.get(KILLED))) for s in others]
        for thread in waiting:
            thread.start()
        # Each of them waits for the one that renders.
        asked = polled(lambda: all(server.pending() > 0 for server in others))
        killed_at = time.monotonic()
        victim.kill()
        for thread in waiting:
            thread.join()
        waited = time.monotonic() - killed_at
        lost.join()
        rendered = self.home.renders(KILLED)
        ok = begun and asked and rendered == 2 and waited < 5
        ok = ok and all((answer.status, answer.cache) == (200, "MISS") for answer in answers)
        self.say(ok, f"{victim.name} is killed (-9) in mid-render: another renders", f"{ms(waited)} after the kill")
        back = self.fleet.replace(victim)
        ok = back.get(KILLED).cache == "HIT" and self.home.renders(KILLED) == rendered
        self.say(ok, f"{victim.name} is started again", "HIT   what the other rendered")

    @staticmethod
    def ask_in_vain(server):
        try:
            server.get(KILLED)
        except OSError:
            return

    def deployments(self):
        """The next build begins while this one runs: each has pages of its own, and hears of every edit."""
        others = self.fleet.start("--deployment", "next")
        try:
            ours, theirs = [], []
            for n, path in enumerate(COLD):
                ours.append(self.after(n)[0].get(path))
                # Rendered by another language than before.
                theirs.append(others[(n + 1) % len(others)].get(path))
            ok = all(answer.cache == "HIT" for answer in ours if answer.status == 200)
            ok = ok and all(answer.cache == "MISS" for answer in theirs)
            self.say(ok, "another build beside this one has pages of its own", "HIT here, MISS there")
            different = [p for p, a, b in zip(COLD, ours, theirs, strict=True) if bytes_of(a) != bytes_of(b)]
            names = ", ".join(server.name for server in self.servers)
            detail = "different: " + " ".join(different) if different else f"{len(COLD)} pages"
            self.say(not different, f"renders of {names} are the same bytes, too", detail)
            synset, (path, *_) = EDITED
            others[-1].get(path)
            text = "two builds, one edit"
            self.write(synset, text)
            told = [server.get(path) for server in (others[-1], self.servers[-1])]
            ok = all(answer.cache == "REVALIDATED" and text in answer.text for answer in told)
            self.say(ok, "an edit reaches both builds", ", ".join(answer.cache for answer in told))
        finally:
            self.fleet.stop(others)

    def restart(self):
        kept = [path for path in COLD if self.servers[0].get(path).status == 200]
        before = {path: self.servers[0].get(path) for path in kept}
        synset, paths = EDITED_BEFORE_STOP
        for path in paths:
            self.servers[0].get(path)
        text = "written just before all servers were stopped"
        self.write(synset, text)
        rendered = {path: self.home.renders(path) for path in kept}
        begin = time.monotonic()
        self.fleet.restart()
        down = time.monotonic() - begin
        after = [(path, server.get(path)) for server in self.servers for path in kept]
        ok = all(answer.cache == "HIT" and bytes_of(answer) == bytes_of(before[path]) for path, answer in after)
        ok = ok and rendered == {path: self.home.renders(path) for path in kept}
        detail = f"HIT   {len(kept)} pages, no render, {ms(down)} for all servers"
        self.say(ok, "all servers are stopped and started again: pages are there", detail)
        first = [self.after(n)[0].get(path) for n, path in enumerate(paths)]
        ok = all(answer.cache == "REVALIDATED" and text in answer.text for answer in first)
        self.say(ok, "and so is what was invalidated before", ", ".join(answer.cache for answer in first))
        pages = self.home.directory / "v1" / "pages"
        ok = polled(lambda: len(list(pages.iterdir())) == 1)
        self.say(ok, "the pages of a build that nobody runs are collected")
