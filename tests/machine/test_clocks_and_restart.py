"""Clocks that jump, and processes that end in one way or another: what was stored and invalidated stays so."""

import pathlib
import unittest

from machine import PATIENCE, Machine, until


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
