"""Files are damaged, deleted or replaced under running processes: trouble is told once, all goes on."""

import os
import random
import shutil
import unittest

from damage import PAGE, REPLACED, Damage
from machine import PATIENCE, until


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


if __name__ == "__main__":
    unittest.main()
