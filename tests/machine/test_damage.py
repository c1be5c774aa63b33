"""Files that are damaged, at rest and in use: what is served stays right, trouble is told once, all goes on."""

import os
import pathlib
import random
import shutil
import socket
import unittest

from machine import PATIENCE, Machine, until

PAGE = "has a damaged page"
READ = "has a page that cannot be read"
WRITE = "takes no page"
DAMAGED = "was damaged"
OPEN = "cannot be opened"
REPLACED = "was deleted or replaced"
SHARED = "lost its shared file"
LOG_WRITE = "takes no invalidation"
LOG_READ = "has invalidations that cannot be read"
CLEAN = "cannot be cleaned up"


class Damage(Machine):
    """What all have in common."""

    @property
    def v1(self):
        return self.directory / "v1"

    def page_files(self):
        return sorted(p for p in (self.v1 / "pages").rglob("*") if p.is_file() or p.is_symlink())

    def page_file(self):
        (only,) = self.page_files()
        return only

    def assert_told(self, worker, *kinds, maybe=None):
        """Of these kinds of trouble, once of each, and of no others (`maybe` of this); and counted."""

        def told():
            return [line for line in worker.call("troubles") if not maybe or maybe not in line]

        until(lambda: len(told()) >= len(kinds), f"{worker.name} is told of {kinds}")
        told = told()
        for kind in kinds:
            self.assertEqual(sum(kind in line for line in told), 1, f"{kind}: {told}")
        self.assertEqual(len(told), len(kinds), told)
        for line in told:
            self.assertTrue(line.startswith("store: "), line)
            self.assertIn(str(self.directory), line)
        if kinds:
            self.assertGreater(worker.stat("disk_errors"), 0)

    def assert_goes_on(self, *workers, shared=True):
        """Every process renders and serves, and no invalidation is lost: with `shared`, between them."""
        for n, worker in enumerate(workers):
            path = f"/p/goes-on-{n}-{self.origin.renders('/p/x')}"
            self.assert_answer(worker.get(path), "miss")
            self.assert_answer(worker.get(path), "hit")
            self.assertEqual(worker.data("k", path)["cache"], "miss")
            self.assertEqual(worker.data("k", path)["cache"], "hit")
        for caller in workers:
            for worker in workers:
                worker.get("/p/x")
            caller.call("revalidate_path", paths=["/p/x"])
            # Nobody is served what was there before.
            before = self.origin.renders("/p/x")
            for worker in workers if shared else [caller]:
                self.assertGreater(int(worker.get("/p/x")["body"].split("#")[1]), before)


class PageFile(Damage):
    """A page's file, read at each request: nothing stays in memory."""

    options = {"max_bytes": 0}

    def setUp(self):
        super().setUp()
        self.a = self.worker()
        self.a.get("/p/1")
        self.assert_answer(self.a.get("/p/1"), "hit")
        self.file = self.page_file()
        self.good = self.file.read_bytes()

    def assert_rendered(self, cache="miss"):
        """Not served, but rendered, and then stored again."""
        n = self.origin.renders("/p/1")
        self.assert_answer(self.a.get("/p/1"), cache, f"/p/1 #{n + 1}")
        self.assert_answer(self.a.get("/p/1"), "hit", f"/p/1 #{n + 1}")

    def test_a_bit_flipped_in_any_byte(self):
        rng = random.Random(1)
        for at in range(len(self.good)):
            with self.subTest(at):
                damaged = bytearray(self.file.read_bytes())
                damaged[at] ^= 1 << rng.randrange(8)
                self.file.write_bytes(damaged)
                self.assert_rendered()
        self.assert_told(self.a, PAGE)
        self.assertGreater(self.a.stat("disk_errors"), len(self.good) * 3 // 4)

    def test_cut_at_any_length(self):
        for length in range(len(self.good)):
            with self.subTest(length):
                os.truncate(self.file, length)
                self.assert_rendered()
        self.assert_told(self.a, PAGE)

    def test_longer_than_it_was(self):
        for more in (b"\0", b"x" * 5000, self.good):
            with self.subTest(len(more)):
                with self.file.open("ab") as file:
                    file.write(more)
                self.assert_rendered()

    def test_zeros_in_a_large_page(self):
        """What a crash of the machine leaves: the length is right, a block is not."""
        self.origin.pages["/p/1"] = {"fill": 300_000}
        self.a.call("regenerate", path="/p/1")
        for at in (0, 4096, 200_704):
            with self.subTest(at):
                with self.file.open("r+b") as file:
                    file.seek(at)
                    file.write(bytes(4096))
                self.assert_rendered()

    def test_the_file_of_another_page(self):
        self.a.get("/p/2")
        (other,) = set(self.page_files()) - {self.file}
        shutil.copyfile(other, self.file)
        self.assert_rendered()
        self.assert_answer(self.a.get("/p/2"), "hit", "/p/2 #1")

    def test_an_old_file_put_back(self):
        """From a backup: what was invalidated since stays so."""
        self.a.call("revalidate_path", paths=["/p/1"])
        self.assert_rendered("revalidated")
        self.file.write_bytes(self.good)
        self.assert_rendered("revalidated")
        self.a.call("remove", paths=["/p/1"])
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_bytes(self.good)
        self.assert_rendered()

    def test_the_file_of_another_deployment_and_of_another_directory(self):
        for more in ({"deployment": "2"}, {"directory": self.home / "other"}):
            with self.subTest(**more):
                before = set(self.home.rglob("pages/**/*"))
                other = self.worker(**more)
                other.get("/p/1")
                (made,) = {p for p in set(self.home.rglob("pages/**/*")) - before if p.is_file()}
                shutil.copyfile(made, self.file)
                # The render of the other counts, too.
                self.assert_rendered()

    def test_an_empty_directory_in_its_place(self):
        self.file.unlink()
        self.file.mkdir()
        for _ in range(2):
            n = self.origin.renders("/p/1")
            self.assert_answer(self.a.get("/p/1"), "miss", f"/p/1 #{n + 1}")
        self.assert_told(self.a, READ, WRITE)
        self.file.rmdir()
        self.assert_rendered()

    def test_a_symlink_in_its_place(self):
        for target in ("copy", "/etc/passwd", "/dev/zero", "nowhere"):
            with self.subTest(target):
                copy = self.home / "copy"
                copy.write_bytes(self.file.read_bytes())
                self.file.unlink()
                self.file.symlink_to(copy if target == "copy" else target)
                self.assert_rendered()
                # Replaced, not followed.
                self.assertFalse(self.file.is_symlink())
                self.assertEqual(copy.stat().st_nlink, 1)

    def test_a_pipe_or_a_socket_in_its_place(self):
        self.file.unlink()
        os.mkfifo(self.file)
        self.assert_rendered()
        self.file.unlink()
        with socket.socket(socket.AF_UNIX) as listening:
            here = os.getcwd()
            os.chdir(self.file.parent)
            try:
                listening.bind(self.file.name)
            finally:
                os.chdir(here)
            self.assert_rendered()

    def test_a_file_without_end(self):
        os.truncate(self.file, 1 << 40)
        self.assert_rendered()
        self.assert_told(self.a, READ)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a file away")
    def test_a_file_of_another_user(self):
        os.chown(self.file, 12345, 12345)
        self.assert_rendered()
        self.assertEqual(self.file.stat().st_uid, os.geteuid())
        self.assert_told(self.a, READ)


class Folders(Damage):
    """Directories inside of the directory that are gone, or something else."""

    def test_deleted_one_by_one_under_a_running_process(self):
        a = self.worker(max_bytes=0)
        for what in ("bucket", "deployment", "pages", "tmp"):
            with self.subTest(what):
                a.get("/p/1")
                file = self.page_file()
                gone = {
                    "bucket": file.parent,
                    "deployment": file.parent.parent,
                    "pages": self.v1 / "pages",
                    "tmp": self.v1 / "tmp",
                }[what]
                shutil.rmtree(gone)
                n = self.origin.renders("/p/1")
                if what == "tmp":
                    a.call("regenerate", path="/p/1")
                else:
                    self.assert_answer(a.get("/p/1"), "miss")
                self.assert_answer(a.get("/p/1"), "hit", f"/p/1 #{n + 1}")
        self.assert_told(a)

    def test_symlinks_in_their_place_are_not_followed(self):
        for what in ("bucket", "deployment", "pages", "tmp", "v1"):
            with self.subTest(what):
                self.directory = self.home / f"cache-{what}"
                first = self.worker()
                first.get("/p/1")
                first.kill()
                file = self.page_file()
                place = {
                    "bucket": file.parent,
                    "deployment": file.parent.parent,
                    "pages": self.v1 / "pages",
                    "tmp": self.v1 / "tmp",
                    "v1": self.v1,
                }[what]
                elsewhere = self.home / f"elsewhere-{what}"
                place.rename(elsewhere)
                there = sorted((p, p.stat().st_mtime_ns) for p in elsewhere.rglob("*"))
                place.symlink_to(elsewhere)
                a = self.worker()
                self.assert_answer(a.get("/p/1"), "miss")
                self.assert_answer(a.get("/p/1"), "hit")
                self.assert_goes_on(a)
                self.assertEqual(sorted((p, p.stat().st_mtime_ns) for p in elsewhere.rglob("*")), there)
                self.assertTrue(a.call("troubles"))
                self.assertGreater(a.stat("disk_errors"), 0)
                a.kill()

    def test_a_file_in_their_place(self):
        for what in ("pages", "tmp", "v1"):
            with self.subTest(what):
                self.directory = self.home / f"cache-{what}"
                self.worker().kill()
                place = self.v1 if what == "v1" else self.v1 / what
                shutil.rmtree(place)
                place.write_text("a file")
                a = self.worker()
                self.assert_goes_on(a)
                self.assert_told(a, OPEN)


class LogAtRest(Damage):
    """The log of invalidations is damaged while nobody uses it: what it said is known, or nothing stored is served."""

    # What each page is when nothing is damaged.
    STATES = {"/p/1": "expired", "/p/2": "missing", "/p/3": "fresh", "/p/4": "stale", "/p/5": "expired"}

    def setUp(self):
        super().setUp()
        first = self.worker("first")
        self.origin.pages = {"/p/1": {"tags": ["t"]}, "/p/4": {"tags": ["u"]}, "/p/5": {"tags": ["v"]}}
        for path in self.STATES:
            first.get(path)
        first.call("revalidate_tag", tags=["t"])
        first.call("remove", paths=["/p/2"])
        first.call("revalidate_tag", tags=["u"], soft=True)
        first.call("revalidate_path", paths=["/p/5", "/p/6"])
        first.kill()
        self.template = self.directory
        self.a = self.spawn("A")
        self.opened = 0

    def reopen(self, damage):
        """Opens a damaged copy. Whether the damage was found."""
        self.opened += 1
        self.directory = self.home / f"copy-{self.opened}"
        shutil.copytree(self.template, self.directory)
        damage(self.v1 / "log")
        name = str(self.opened)
        self.open(self.a, cache=name)
        states = {path: self.a.call("peek", path=path, cache=name)["state"] for path in self.STATES}
        found = states != self.STATES
        for path, state in states.items():
            self.assertIn(state, (self.STATES[path], "missing"), f"{path}: {states}")
        if found:
            # All or nothing, and told.
            self.assertEqual(set(states.values()), {"missing"}, states)
            self.assertGreater(self.a.call("stats", cache=name)["disk_errors"], 0)
        self.assert_answer(self.a.get("/p/7", cache=name), "miss")
        self.a.call("close", cache=name, secs=5)
        self.a.call("forget", cache=name)
        # It works again, and remembers.
        self.open(self.a, cache=name)
        self.assert_answer(self.a.get("/p/7", cache=name), "hit")
        self.assertNotEqual(self.a.call("peek", path="/p/1", cache=name)["state"], "fresh")
        self.assertEqual(self.a.call("stats", cache=name)["disk_errors"], 0)
        self.a.call("close", cache=name, secs=5)
        self.a.call("forget", cache=name)
        shutil.rmtree(self.directory)
        return found

    def used(self):
        """Where the log has other bytes than zeros: its head, its commits, its frames."""
        log = (self.template / "v1/log").read_bytes()
        return [at for at, byte in enumerate(log) if byte]

    def test_undamaged(self):
        self.assertFalse(self.reopen(lambda log: None))
        self.assertEqual(self.a.call("troubles"), [])

    def test_a_bit_flipped_in_any_byte(self):
        rng = random.Random(2)
        used = self.used()
        self.assertGreater(len(used), 150)
        found = 0
        for at in used[:: int(os.environ.get("LIBISR_DAMAGE_STEP", "3"))]:

            def flip(log, at=at):
                data = bytearray(log.read_bytes())
                data[at] ^= 1 << rng.randrange(8)
                log.write_bytes(data)

            with self.subTest(at):
                found += self.reopen(flip)
        self.assertGreater(found, 20)
        self.assertTrue(all(DAMAGED in told for told in self.a.call("troubles")), self.a.call("troubles"))

    def test_cut_at_any_length(self):
        end = max(self.used()) + 1
        for length in [0, 1, 79, 80, 1024, 1071, 2048, 2100, 4095, 4096, *range(4097, end, 9)]:
            with self.subTest(length):
                self.assertTrue(self.reopen(lambda log, length=length: os.truncate(log, length)))

    def test_random_bytes(self):
        rng = random.Random(3)

        def overwrite(log, at):
            with log.open("r+b") as file:
                file.seek(at)
                file.write(rng.randbytes(64))

        for at in (0, 1024, 2048, 4096):
            with self.subTest(at):
                self.reopen(lambda log, at=at: overwrite(log, at))
        self.assertTrue(self.reopen(lambda log: log.write_bytes(rng.randbytes(10_000))))

    def test_gone(self):
        self.assertTrue(self.reopen(lambda log: log.unlink()))
        self.assert_told_damaged()

    def test_not_a_file(self):
        def link(log):
            log.rename(self.home / "log")
            log.symlink_to(self.home / "log")

        for make in (link, lambda log: (log.unlink(), log.mkdir())):
            self.assertTrue(self.reopen(make))
        self.assert_told_damaged()

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a file away")
    def test_of_another_user(self):
        self.assertTrue(self.reopen(lambda log: os.chown(log, 12345, 12345)))
        self.assert_told_damaged()

    def test_of_another_version(self):
        def other(log):
            data = bytearray(log.read_bytes())
            data[7] += 1
            log.write_bytes(data)

        self.assertTrue(self.reopen(other))

    def assert_told_damaged(self):
        until(lambda: self.a.call("troubles"), "told")
        self.assertTrue(all(DAMAGED in told for told in self.a.call("troubles")), self.a.call("troubles"))


class SharedAtRest(Damage):
    """`shared` means nothing while nobody has the directory open: whatever becomes of it then does not matter."""

    def test_whatever_is_there(self):
        a = self.worker()
        a.get("/p/1")
        a.get("/p/2")
        a.call("revalidate_path", paths=["/p/2"])
        a.kill()
        rng = random.Random(4)
        shared = self.v1 / "shared"
        size = shared.stat().st_size
        changes = {
            "empty": lambda: os.truncate(shared, 0),
            "half": lambda: os.truncate(shared, size // 2),
            "longer": lambda: os.truncate(shared, 2 * size),
            "random": lambda: shared.write_bytes(rng.randbytes(size)),
            "gone": shared.unlink,
            "symlink": lambda: (shared.unlink(), shared.symlink_to("/etc/passwd")),
            "another's": lambda: os.chown(shared, 12345, 12345) if os.geteuid() == 0 else None,
        }
        for name, change in changes.items():
            with self.subTest(name):
                change()
                b = self.worker(f"after {name}")
                self.assert_answer(b.get("/p/1"), "hit", "/p/1 #1")
                self.assertEqual(b.call("peek", path="/p/2")["state"], "expired")
                self.assert_told(b)
                b.kill()


class UnderRunningProcesses(Damage):
    """Two processes run; something is done to the files; then a third one opens the directory, and a fourth alone."""

    def start(self):
        self.a, self.b = self.several(2)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        for worker in (self.a, self.b):
            worker.get("/p/1")
            worker.get("/p/2")
            worker.get("/p/x")

    def finish(self, *, shared=True):
        """A tag is revalidated in A: nobody else is served the page from before, nor is anybody after a restart."""
        a, b = self.a, self.b
        a.call("revalidate_tag", tags=["t"])
        for worker in (a, b) if shared else (a,):
            self.assertNotIn(worker.call("peek", path="/p/1")["state"], ("fresh", "stale"), worker.name)
        self.assert_goes_on(a, b, shared=shared)
        c = self.worker("C")
        self.assertNotIn(c.call("peek", path="/p/1")["state"], ("fresh", "stale"), "C")
        self.assert_goes_on(c)
        self.assert_goes_on(a, b, shared=False)
        for worker in (a, b, c):
            worker.kill()
        d = self.worker("D")
        self.assertNotIn(d.call("peek", path="/p/1")["state"], ("fresh", "stale"), "D")
        self.assert_goes_on(d)
        self.assert_told(d)
        e = self.worker("E")
        self.assert_goes_on(d, e)

    def test_the_log_is_cut(self):
        for length in (0, 100, 4096):
            with self.subTest(length):
                self.directory = self.home / f"cache-{length}"
                self.origin.__init__()
                self.start()
                os.truncate(self.v1 / "log", length)
                self.finish()

    def test_the_log_is_overwritten(self):
        rng = random.Random(5)
        for at in (0, 1024, 2048, 4096):
            with self.subTest(at):
                self.directory = self.home / f"cache-{at}"
                self.origin.__init__()
                self.start()
                self.a.call("revalidate_path", paths=["/p/2"])
                with (self.v1 / "log").open("r+b") as log:
                    log.seek(at)
                    log.write(rng.randbytes(48))
                self.finish()

    def test_the_log_is_deleted(self):
        self.start()
        (self.v1 / "log").unlink()
        self.finish()

    def test_shared_is_cut(self):
        """The order of all processes is lost: each goes on alone."""
        for length in (0, 4096, 1_000_000):
            with self.subTest(length):
                self.directory = self.home / f"cache-{length}"
                self.origin.__init__()
                self.start()
                os.truncate(self.v1 / "shared", length)
                for worker in (self.a, self.b):
                    worker.get("/p/3")
                    worker.call("revalidate_path", paths=["/p/3"])
                    self.assertNotEqual(worker.call("peek", path="/p/3")["state"], "fresh")
                self.finish(shared=False)

    def test_shared_is_cut_and_grows_again(self):
        self.start()
        size = (self.v1 / "shared").stat().st_size
        os.truncate(self.v1 / "shared", 0)
        os.truncate(self.v1 / "shared", size)
        self.finish(shared=False)

    def test_shared_is_cut_in_the_middle_of_a_render(self):
        self.start()
        self.origin.hold("/p/9")
        asked = [worker.begin_get("/p/9") for worker in (self.a, self.b)]
        job = self.origin.take("/p/9")
        for worker in (self.a, self.b):
            until(worker.is_waiting, "waits")
        os.truncate(self.v1 / "shared", 0)
        self.origin.release("/p/9")
        job.finish()
        for future in asked:
            self.assert_answer(future.result(PATIENCE), "miss")
        self.finish(shared=False)
        for worker in (self.a, self.b):
            self.assertEqual(worker.process.returncode, -9)

    def test_random_bytes_all_over_shared(self):
        rng = random.Random(6)
        self.start()
        size = (self.v1 / "shared").stat().st_size
        with (self.v1 / "shared").open("r+b") as shared:
            shared.write(rng.randbytes(size))
        self.finish(shared=False)

    def test_random_bytes_behind_the_head_of_shared(self):
        """The head is whole, but nothing behind is: versions, leases, and the words that order everything."""
        for start, end in ((4096, None), (128, 4096), (128, None)):
            with self.subTest(start=start, end=end):
                rng = random.Random(7)
                self.directory = self.home / f"cache-{start}-{end}"
                self.origin.__init__()
                self.start()
                size = (self.v1 / "shared").stat().st_size
                with (self.v1 / "shared").open("r+b") as shared:
                    shared.seek(start)
                    shared.write(rng.randbytes((end or size) - start))
                self.finish(shared=False)

    def test_the_directory_is_deleted(self):
        self.start()
        shutil.rmtree(self.directory)
        self.finish()

    def test_the_directory_is_deleted_and_they_notice(self):
        self.start()
        shutil.rmtree(self.directory)
        for worker in (self.a, self.b):
            self.assert_told(worker, REPLACED)
        # Invalidations still take effect among them.
        self.a.call("revalidate_tag", tags=["t"])
        for worker in (self.a, self.b):
            self.assertEqual(worker.call("peek", path="/p/1")["state"], "expired")
        self.assert_goes_on(self.a, self.b)
        self.assert_told(self.a, REPLACED)

    def test_the_directory_is_moved_and_another_one_is_made(self):
        """Those who have it open have it wherever it is; a newcomer has one of its own."""
        self.start()
        self.directory.rename(self.home / "moved")
        c = self.worker("C")
        self.assert_answer(c.get("/p/1"), "miss", "/p/1 #2")
        self.assert_goes_on(c)
        self.assert_answer(self.b.call("regenerate", path="/p/2"), "revalidated", "/p/2 #2")
        self.assert_answer(self.a.get("/p/2"), "hit", "/p/2 #2")
        self.assert_goes_on(self.a, self.b)
        for worker in (self.a, self.b, c):
            self.assert_told(worker)

    def test_locks_are_deleted(self):
        """A newcomer believes that it is alone. Those who were there notice, and keep to themselves."""
        self.start()
        (self.v1 / "locks").unlink()
        c = self.worker("C")
        c.get("/p/1")
        for worker in (self.a, self.b):
            self.assert_told(worker, REPLACED)
        self.assert_goes_on(self.a, self.b)
        self.assert_goes_on(c)

    def test_a_page_is_damaged(self):
        self.start()
        for file in self.page_files():
            os.truncate(file, 10)
        # In memory of those who run; rendered by those who come.
        for worker in (self.a, self.b):
            self.assert_answer(worker.get("/p/1"), "hit", "/p/1 #1")
        c = self.worker("C")
        self.assert_answer(c.get("/p/1"), "miss", "/p/1 #2")
        self.assert_told(c, PAGE)
        self.assert_answer(self.a.get("/p/1"), "hit", "/p/1 #2")
        self.assert_told(self.a)


class Clocks(Machine):
    """The machine's clock is set back, or far ahead."""

    NOW = 1_800_000_000

    def test_an_hour_back(self):
        a, b = self.several(2, clock=self.NOW)
        a.get("/short/1")
        a.get("/p/1")
        for worker in (a, b):
            worker.call("set_wall", secs=self.NOW - 3600)
        # A page from the future is stale: it is rendered again rather than kept for an hour.
        self.assert_answer(b.get("/short/1"), "stale", "/short/1 #1")
        until(lambda: a.get("/short/1")["body"] == "/short/1 #2", "the page is rendered again")
        self.assert_answer(a.get("/short/1"), "hit", "/short/1 #2")
        a.call("advance", secs=11)
        self.assert_answer(a.get("/short/1"), "stale", "/short/1 #2")
        # What is not stale by time is, too: nobody knows how old it is.
        self.assertIn(b.get("/p/1")["cache"], ("hit", "stale"))

    def test_an_hour_back_over_a_restart(self):
        a = self.worker(clock=self.NOW)
        self.origin.pages["/p/2"] = {"tags": ["t"]}
        for path in ("/p/1", "/p/2"):
            a.get(path)
        a.call("revalidate_path", paths=["/p/1"])
        a.call("revalidate_tag", tags=["t"])
        a.kill()
        b = self.worker(clock=self.NOW - 3600)
        # Epochs order, clocks do not: what was invalidated stays so.
        self.assert_answer(b.get("/p/1"), "revalidated", "/p/1 #2")
        self.assert_answer(b.get("/p/2"), "revalidated", "/p/2 #2")
        b.call("revalidate_tag", tags=["t"])
        self.assert_answer(b.get("/p/2"), "revalidated", "/p/2 #3")

    def test_ten_years_ahead_and_back(self):
        years = 10 * 365 * 24 * 3600
        a = self.worker(clock=self.NOW)
        a.get("/p/1")
        a.get("/short/1")
        b = self.worker(clock=self.NOW + years)
        # Never stale by time, never expired.
        self.assert_answer(b.get("/p/1"), "hit", "/p/1 #1")
        self.assert_answer(b.get("/short/1"), "revalidated", "/short/1 #2")
        self.assert_answer(b.get("/short/1"), "hit", "/short/1 #2")
        # For A that page comes from the future: stale, and not kept for ten years.
        self.assert_answer(a.get("/short/1"), "stale", "/short/1 #2")
        until(lambda: a.get("/short/1")["body"] == "/short/1 #3", "the page is rendered again")
        self.assert_answer(a.get("/short/1"), "hit", "/short/1 #3")
        for worker in (a, b):
            self.assertEqual(worker.stat("disk_errors"), 0)

    def test_a_soft_call_with_expire_while_clocks_differ(self):
        a = self.worker(clock=self.NOW)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        a.get("/p/1")
        a.call("revalidate_tag", tags=["t"], soft=True, expire=60)
        b = self.worker(clock=self.NOW + 3600)
        self.assert_answer(b.get("/p/1"), "revalidated", "/p/1 #2")

    def test_leases_run_on_a_clock_that_does_not_jump(self):
        a, b = self.several(2, clock=self.NOW)
        self.origin.hold("/p/1")
        asked = a.begin_get("/p/1")
        job = self.origin.take("/p/1", a)
        b.call("set_wall", secs=self.NOW + 10 * 365 * 24 * 3600)
        other = b.begin_get("/p/1")
        until(b.is_waiting, "B waits")
        self.assertEqual(self.origin.waiting("/p/1"), 0)
        job.finish()
        self.assert_answer(asked.result(PATIENCE), "miss", "/p/1 #1")
        self.assertEqual(other.result(PATIENCE)["body"], "/p/1 #1")


class Restart(Machine):
    """All processes end, in one way or another: everything comes back as it was."""

    def test_states_after_kill_and_after_a_clean_end(self):
        for clean in (False, True):
            with self.subTest(clean=clean):
                self.directory = self.home / f"cache-{clean}"
                self.origin.__init__()
                a = self.worker(clock=1_000_000)
                self.origin.pages = {
                    "/p/404": {"status": 404, "body": "nothing"},
                    "/p/moved": {"status": 307, "headers": {"location": "/p/1"}},
                    "/p/tagged": {"tags": ["t"]},
                    "/p/soft": {"tags": ["u"]},
                    "/p/later": {"tags": ["w"]},
                }
                paths = [*self.origin.pages, "/p/1", "/p/path", "/p/removed", "/deep/a", "/short/1", "/short/2"]
                first = {path: a.get(path) for path in paths}
                a.data("k", tags=["d"])
                a.data("kept")
                a.call("revalidate_tag", tags=["t"])
                a.call("revalidate_tag", tags=["u"], soft=True)
                a.call("revalidate_tag", tags=["w"], soft=True, expire=100)
                a.call("revalidate_tag", tags=["d"])
                a.call("revalidate_path", paths=["/p/path"])
                a.call("revalidate_path", paths=["/deep"], kind="layout")
                a.call("remove", paths=["/p/removed"])
                a.call("advance", secs=11)
                self.origin.hold("/short/2")
                if clean:
                    a.end()
                else:
                    a.kill()
                b = self.worker(clock=1_000_011)
                states = {path: b.call("peek", path=path)["state"] for path in paths}
                self.assertEqual(
                    states,
                    {
                        "/p/404": "fresh",
                        "/p/moved": "fresh",
                        "/p/tagged": "expired",
                        "/p/soft": "stale",
                        "/p/later": "stale",
                        "/p/1": "fresh",
                        "/p/path": "expired",
                        "/p/removed": "missing",
                        "/deep/a": "expired",
                        "/short/1": "stale",
                        "/short/2": "stale",
                    },
                )
                for path in ("/p/404", "/p/moved", "/p/1"):
                    again = b.get(path)
                    self.assertEqual((again.pop("cache"), again.pop("age")), ("hit", 11))
                    again["cache"], again["age"] = "miss", 0
                    self.assertEqual(again, first[path])
                self.assertEqual(b.data("k", tags=["d"])["value"], "k #2")
                self.assertEqual(b.data("kept"), {"cache": "hit", "value": "kept #1"})
                b.call("advance", secs=100)
                self.assertEqual(b.call("peek", path="/p/later")["state"], "expired")
                self.assertEqual((b.stat("disk_errors"), b.call("troubles")), (0, []))
                b.kill()

    def test_leftovers_of_killed_writers_are_cleaned_up(self):
        a = self.worker()
        a.get("/p/1")
        tmp = self.directory / "v1" / "tmp"
        a.kill()
        for name in ("0-123", "5-456", "1000-1"):
            (tmp / name).write_bytes(bytes(10_000))
        b = self.worker()
        # Its own seat's at once, those of others by the janitor.
        self.assertEqual(sorted(file.name for file in tmp.iterdir()), ["1000-1", "5-456"])
        b.get("/p/2")
        until(lambda: not list(tmp.iterdir()), "leftovers are removed")
        self.assert_answer(b.get("/p/1"), "hit")

    def test_hundreds_of_openings_leave_nothing_open(self):
        a = self.spawn()
        self.open(a)
        a.get("/p/1")
        a.call("close", secs=5)
        a.call("forget")

        def count():
            return len(list(pathlib.Path(f"/proc/{a.pid}/fd").iterdir()))

        before = count()
        for _ in range(200):
            self.open(a)
            self.assert_answer(a.get("/p/1"), "hit")
            a.call("close", secs=5)
            a.call("forget")
        self.assertLessEqual(count(), before)
        maps = pathlib.Path(f"/proc/{a.pid}/maps").read_text()
        self.assertNotIn("shared", maps.split(str(self.directory))[-1] if str(self.directory) in maps else "")


if __name__ == "__main__":
    unittest.main()
