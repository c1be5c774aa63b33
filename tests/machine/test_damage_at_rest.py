"""The log and the shared file are damaged while nobody has the directory open."""

import os
import random
import shutil
import unittest

from damage import DAMAGED, Damage
from machine import until


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


if __name__ == "__main__":
    unittest.main()
