"""What a process needs is missing: room, inodes, rights, descriptors. Served answers stay right, and it works
again (section 11).
"""

import contextlib
import os
import pathlib
import resource
import shutil
import unittest

import mounts
from damage import CLEAN, LOG_WRITE, OPEN, READ, WRITE, Damage
from machine import until

MANY = 4000
NOBODY = 65534


@unittest.skipIf(mounts.why_not(), mounts.why_not())
class FullDisk(Damage):
    """No room, or no inodes, on the disk."""

    def setUp(self):
        super().setUp()
        self.disk = self.home / "disk"
        self.directory = self.disk / "cache"

    def small(self, options="size=8m"):
        mounts.tmpfs(self, self.disk, options)

    def fill(self, leave=0):
        """Until nothing more fits."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - leave)

    def make_room(self):
        (self.disk / "filler").unlink()

    def start(self):
        self.a, self.b = self.several(2)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        # The first call takes room in the log for some more.
        self.a.call("revalidate_tag", tags=["first"])
        for worker in (self.a, self.b):
            for path in ("/p/1", "/p/2", "/p/x"):
                worker.get(path)

    def test_pages_that_do_not_fit_stay_in_memory(self):
        self.small()
        self.start()
        self.fill()
        self.origin.pages["/p/new"] = {"fill": 20_000}
        for worker in (self.a, self.b):
            self.assert_answer(worker.get("/p/new"), "miss")
            self.assert_answer(worker.get("/p/new"), "hit")
            self.assert_answer(worker.get("/p/2"), "hit", "/p/2 #1")
            self.assert_told(worker, WRITE)
        self.a.call("revalidate_tag", tags=["t"])
        for worker in (self.b, self.a):
            self.assertEqual(worker.call("peek", path="/p/1")["state"], "expired")
        self.assert_goes_on(self.a, self.b)
        self.make_room()
        self.assert_answer(self.a.call("regenerate", path="/p/new"), "revalidated", "/p/new #3")
        self.assert_answer(self.b.get("/p/new"), "hit", "/p/new #3")
        for worker in (self.a, self.b):
            worker.kill()
        c = self.worker("C")
        self.assert_answer(c.get("/p/new"), "hit", "/p/new #3")
        # The janitor made room on the full disk.
        self.assertIn(c.call("peek", path="/p/1")["state"], ("expired", "missing"))
        self.assert_told(c)

    def test_told_again_when_it_was_over(self):
        self.small()
        self.start()
        for times in (1, 2):
            self.fill()
            self.a.get(f"/p/full-{times}")
            until(lambda times=times: len(self.a.call("troubles")) == times, f"told {times} times")
            self.a.get(f"/p/full-again-{times}")
            self.make_room()
            self.a.get(f"/p/room-{times}")
            self.assert_answer(self.b.get(f"/p/room-{times}"), "hit")
        self.assertTrue(all(WRITE in told for told in self.a.call("troubles")))

    def test_a_page_that_is_replaced_by_one_that_does_not_fit(self):
        """Nobody reads the older one from the disk after somebody was served the newer one."""
        self.small()
        self.start()
        self.origin.pages["/p/2"] = {"fill": 20_000}
        self.fill()
        self.assert_answer(self.a.call("regenerate", path="/p/2"), "revalidated", "/p/2 #2")
        c = self.worker("C")
        self.assert_answer(c.get("/p/2"), "miss", "/p/2 #3")
        self.assert_answer(self.a.get("/p/2"), "hit", "/p/2 #2")

    def test_a_page_that_is_replaced_by_one_that_is_too_large_for_the_directory(self):
        self.small()
        a, b = self.several(2, max_disk_bytes=100_000)
        a.get("/p/1")
        self.origin.pages["/p/1"] = {"fill": 200_000}
        self.assert_answer(a.call("regenerate", path="/p/1"), "revalidated", "/p/1 #2")
        self.assert_answer(a.get("/p/1"), "hit", "/p/1 #2")
        self.assert_answer(b.get("/p/1"), "miss", "/p/1 #3")

    def test_invalidations_that_do_not_fit_flush_all(self):
        self.small()
        self.start()
        self.fill()
        for n in range(2):
            self.a.call("revalidate_tag", tags=[f"{n}-{i}".ljust(250, "x") for i in range(MANY)])
        self.a.call("revalidate_tag", tags=["t"])
        # Never served too long; what the calls did not cover is rendered once too often.
        for worker in (self.b, self.a):
            self.assertNotIn(worker.call("peek", path="/p/1")["state"], ("fresh", "stale"), worker.name)
        until(lambda: any(LOG_WRITE in told for told in self.a.call("troubles")), "told")
        self.assert_goes_on(self.a, self.b)
        for worker in (self.a, self.b):
            worker.kill()
        self.make_room()
        c = self.worker("C")
        for path in ("/p/1", "/p/2"):
            self.assertEqual(c.call("peek", path=path)["state"], "missing", path)
        self.assert_goes_on(c)
        self.assert_told(c)

    def test_killed_and_started_again_on_a_full_disk(self):
        self.small()
        self.start()
        self.fill()
        self.a.call("revalidate_tag", tags=["t"])
        for worker in (self.a, self.b):
            worker.kill()
        c, d = self.several(2)
        for worker in (c, d):
            self.assertNotIn(worker.call("peek", path="/p/1")["state"], ("fresh", "stale"))
        self.assert_goes_on(c, d, shared=not c.call("troubles"))
        # Those who could not open it know nothing of others; calls made meanwhile are theirs alone.
        for worker in (c, d):
            worker.kill()
        self.make_room()
        e = self.worker()
        self.assertIn(e.call("peek", path="/p/1")["state"], ("expired", "missing"))
        self.assertIn(e.call("peek", path="/p/2")["state"], ("fresh", "missing"))
        self.assert_goes_on(e)
        self.assert_told(e)

    def test_opened_for_the_first_time_on_a_full_disk(self):
        self.small()
        self.fill()
        a = self.worker()
        self.assert_goes_on(a)
        self.assert_told(a, OPEN)
        a.kill()
        self.make_room()
        b = self.worker()
        self.assert_goes_on(b)
        self.assert_told(b)

    def test_a_disk_that_fills_up_at_every_size(self):
        """Each time a little more room is left: something else does not fit."""
        self.small("size=4m")
        for leave in range(0, 1600_000, 64 << 10):
            with self.subTest(leave):
                shutil.rmtree(self.directory, ignore_errors=True)
                self.origin.__init__()
                self.fill(leave)
                self.start()
                self.a.call("revalidate_tag", tags=["t"])
                self.assertNotEqual(self.a.call("peek", path="/p/1")["state"], "fresh")
                if not self.a.call("troubles") and not self.b.call("troubles"):
                    self.assertNotEqual(self.b.call("peek", path="/p/1")["state"], "fresh")
                self.assert_goes_on(self.a)
                for worker in (self.a, self.b):
                    worker.kill()
                self.make_room()
                c = self.worker("C")
                self.assertNotEqual(c.call("peek", path="/p/1")["state"], "fresh")
                self.assert_goes_on(c)
                self.assert_told(c)
                self.end_workers()

    def test_no_inodes(self):
        self.small("size=64m,nr_inodes=40")
        self.start()
        for n in range(50):
            self.assert_answer(self.a.get(f"/p/many-{n}"), "miss")
        until(lambda: self.a.call("troubles"), "told")
        # Again, where the janitor has made room in between.
        self.assertTrue(all(WRITE in told for told in self.a.call("troubles")))
        for n in range(50):
            self.assert_answer(self.a.get(f"/p/many-{n}"), "hit", f"/p/many-{n} #1")
        self.assert_goes_on(self.a, self.b)

    def test_the_bound_holds_under_a_flood(self):
        self.small("size=64m")
        a, b = self.several(2, max_disk_bytes=2_000_000)
        for n in range(8):
            a.get(f"/p/keep-{n}")
        for n in range(1500):
            (a, b)[n % 2].get(f"/p/flood-{n}")
            if n % 50 == 0:
                b.get(f"/p/keep-{n // 50 % 8}")
        until(lambda: self.disk_use() <= 2_000_000 * 1.06, "the janitor keeps the bound")
        self.assertGreater(self.disk_use(), 500_000)
        for worker in (a, b):
            self.assert_told(worker)
            # What it says is what there is.
            until(lambda w=worker: abs(w.stat("disk_bytes") - self.disk_use()) < 200_000, "counted")

    def disk_use(self):
        total = 0
        for file in self.page_files():
            with contextlib.suppress(OSError):
                total += -(-file.stat().st_size // 4096) * 4096
        return total


@unittest.skipIf(mounts.why_not(), mounts.why_not())
class ReadOnlyDisk(Damage):
    """The file system becomes read-only."""

    def setUp(self):
        super().setUp()
        self.disk = self.home / "disk"
        self.directory = self.disk / "cache"

    def test_under_running_processes(self):
        mounts.ext4(self, self.disk, 16)
        a, b = self.several(2)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        for worker in (a, b):
            worker.get("/p/1")
            worker.get("/p/x")
        a.get("/p/disk")
        mounts.ext4_error(self, self.disk)
        with self.assertRaises(OSError):
            (self.disk / "x").write_text("no")
        for worker in (a, b):
            self.assert_answer(worker.get("/p/1"), "hit", "/p/1 #1")
            self.assert_answer(worker.get("/p/new"), "miss")
            self.assert_answer(worker.get("/p/new"), "hit")
        a.call("revalidate_tag", tags=["t"])
        for worker in (b, a):
            self.assertNotIn(worker.call("peek", path="/p/1")["state"], ("fresh", "stale"), worker.name)
        self.assert_goes_on(a, b)
        self.assert_told(a, WRITE, LOG_WRITE, maybe=CLEAN)
        for worker in (a, b):
            worker.kill()
        c = self.worker("C")
        self.assert_goes_on(c)
        self.assert_told(c, OPEN)

    def test_when_it_is_opened(self):
        mounts.tmpfs(self, self.disk, "size=8m")
        a = self.worker()
        a.get("/p/1")
        a.get("/p/2")
        a.call("revalidate_path", paths=["/p/2"])
        a.kill()
        mounts.mount("-o", "remount,ro", str(self.disk))
        b = self.worker()
        self.assertNotEqual(b.call("peek", path="/p/2")["state"], "fresh")
        self.assert_goes_on(b)
        self.assert_told(b, OPEN)
        b.kill()
        mounts.mount("-o", "remount,rw", str(self.disk))
        c = self.worker()
        self.assert_answer(c.get("/p/1"), "hit", "/p/1 #1")
        self.assertEqual(c.call("peek", path="/p/2")["state"], "expired")
        self.assert_told(c)


class Descriptors(Damage):
    """No file descriptors are left."""

    def none_left(self, worker):
        """As many as it has, and not one more."""
        used = max(int(fd.name) for fd in pathlib.Path(f"/proc/{worker.pid}/fd").iterdir()) + 1
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (used, 4096))

    def enough(self, worker):
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (1024, 4096))

    def test_under_a_running_process(self):
        a, b = self.several(2)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        for worker in (a, b):
            worker.get("/p/1")
            worker.get("/p/x")
        a.get("/p/on-disk")
        self.none_left(b)
        self.assert_answer(b.get("/p/1"), "hit", "/p/1 #1")
        # Cannot be read: rendered.
        self.assert_answer(b.get("/p/on-disk"), "miss", "/p/on-disk #2")
        self.assert_answer(b.get("/p/on-disk"), "hit", "/p/on-disk #2")
        self.assert_told(b, READ, WRITE, maybe=CLEAN)
        # The log is open: invalidations go both ways.
        a.call("revalidate_tag", tags=["t"])
        self.assertEqual(b.call("peek", path="/p/1")["state"], "expired")
        self.assert_goes_on(b, a)
        self.enough(b)
        self.assert_answer(b.get("/p/2"), "miss")
        self.assert_answer(a.get("/p/2"), "hit")
        a.get("/p/3")
        self.assert_answer(b.get("/p/3"), "hit", "/p/3 #1")

    def test_a_newer_page_is_seen_when_it_can_be_read_again(self):
        a, b = self.several(2)
        for worker in (a, b):
            worker.get("/p/1")
        self.none_left(b)
        a.call("regenerate", path="/p/1")
        b.get("/p/1")
        self.enough(b)
        # Its own copy is older than what A has stored.
        self.assertNotEqual(b.get("/p/1")["body"], "/p/1 #1")

    def test_a_rewritten_log_that_cannot_be_opened_flushes_all(self):
        a, b = self.several(2)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        for worker in (a, b):
            worker.get("/p/1")
            worker.get("/p/x")
        self.none_left(b)
        for n in range(6):
            a.call("revalidate_tag", tags=[f"{n}-{i}".ljust(250, "x") for i in range(MANY)])
        a.call("revalidate_tag", tags=["t"])
        self.assertNotIn(b.call("peek", path="/p/1")["state"], ("fresh", "stale"))
        self.assert_goes_on(b)
        b.call("revalidate_path", paths=["/p/x"])
        self.assertNotIn(a.call("peek", path="/p/x")["state"], ("fresh", "stale"))
        self.enough(b)
        self.assert_goes_on(a, b)

    def test_when_it_is_opened(self):
        first = self.worker("first")
        first.get("/p/1")
        for spare in range(12):
            with self.subTest(spare):
                a = self.spawn()
                a.call("troubles")  # it runs
                used = max(int(fd.name) for fd in pathlib.Path(f"/proc/{a.pid}/fd").iterdir()) + 1
                resource.prlimit(a.pid, resource.RLIMIT_NOFILE, (used + spare, 4096))
                self.open(a)
                self.assert_goes_on(a)
                if a.call("troubles"):
                    told = [line.split('cache" ')[1] for line in a.call("troubles")]
                    self.assertTrue(all(t.startswith((OPEN, READ, WRITE, CLEAN)) for t in told), told)
                else:
                    self.assert_answer(a.get("/p/1"), "hit", "/p/1 #1")
                a.call("close", secs=5)
                # Nothing stays open that was opened on the way.
                left = len(list(pathlib.Path(f"/proc/{a.pid}/fd").iterdir()))
                self.assertLessEqual(left, used + spare)
                a.kill()
        self.assert_told(first)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "only root can be another user")
class OtherUsers(Damage):
    """Directories of others, and rights that are missing."""

    def nobody(self):
        return self.spawn(prefix=["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"])

    def setUp(self):
        super().setUp()
        # So that the other user gets here, and to the worker's own file.
        self.home.chmod(0o755)
        probe = self.nobody()
        try:
            probe.call("troubles")
        except Exception as error:
            probe.expected_to_die = True
            self.skipTest(f"user {NOBODY} cannot run the worker from where it was built: {error!r}")

    def test_the_directory_of_another_user(self):
        a = self.worker()
        a.get("/p/1")
        for mode in (0o700, 0o777):
            with self.subTest(oct(mode)):
                self.directory.chmod(mode)
                b = self.nobody()
                self.open(b)
                self.assert_answer(b.get("/p/1"), "miss")
                self.assert_goes_on(b)
                self.assert_told(b, OPEN)
        # The owner does not notice.
        self.assert_answer(a.get("/p/1"), "hit", "/p/1 #1")
        self.assert_told(a)

    def test_root_does_not_take_the_directory_of_another_user(self):
        self.directory.mkdir()
        os.chown(self.directory, NOBODY, NOBODY)
        a = self.nobody()
        self.open(a)
        a.get("/p/1")
        b = self.worker()
        self.assert_answer(b.get("/p/1"), "miss")
        self.assert_goes_on(b)
        self.assert_told(b, OPEN)
        self.assert_answer(a.get("/p/1"), "hit", "/p/1 #1")
        self.assert_told(a)

    def test_a_directory_that_others_may_write_to(self):
        a = self.worker()
        a.get("/p/1")
        a.kill()
        for mode in (0o770, 0o702, 0o777):
            with self.subTest(oct(mode)):
                self.v1.chmod(mode)
                b = self.worker()
                self.assert_answer(b.get("/p/1"), "miss")
                self.assert_told(b, OPEN)
                b.kill()
        self.v1.chmod(0o700)
        self.assert_answer(self.worker().get("/p/1"), "hit", "/p/1 #1")

    def test_files_that_were_given_to_another_user(self):
        for name in ("log", "shared", "locks", "pages", "tmp"):
            with self.subTest(name):
                self.directory = self.home / f"cache-{name}"
                a = self.worker()
                a.get("/p/1")
                a.call("revalidate_path", paths=["/p/1"])
                a.kill()
                os.chown(self.v1 / name, NOBODY, NOBODY)
                b = self.worker()
                self.assertNotEqual(b.call("peek", path="/p/1")["state"], "fresh")
                self.assert_goes_on(b)
                b.kill()

    def test_rights_that_are_taken_away_under_a_running_process(self):
        self.directory.mkdir()
        os.chown(self.directory, NOBODY, NOBODY)
        a, b = self.nobody(), self.nobody()
        for worker in (a, b):
            self.open(worker)
        self.origin.pages["/p/1"] = {"tags": ["t"]}
        for worker in (a, b):
            worker.get("/p/1")
            worker.get("/p/x")
        a.get("/p/disk")
        for path in self.v1.rglob("*"):
            os.chown(path, 0, 0)
        self.assert_answer(b.get("/p/disk"), "miss", "/p/disk #2")
        self.assert_answer(b.get("/p/disk"), "hit", "/p/disk #2")
        a.call("revalidate_tag", tags=["t"])
        for worker in (a, b):
            self.assertNotIn(worker.call("peek", path="/p/1")["state"], ("fresh", "stale"))
        self.assert_goes_on(a, b)
        self.assert_told(b, READ, WRITE, maybe=CLEAN)

    def test_a_parent_that_may_not_be_entered(self):
        self.home.joinpath("closed").mkdir(mode=0o700)
        self.directory = self.home / "closed" / "cache"
        a = self.nobody()
        self.open(a)
        self.assert_goes_on(a)
        self.assert_told(a, OPEN)


if __name__ == "__main__":
    unittest.main()
