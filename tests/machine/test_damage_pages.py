"""Files of pages, and their folders, that are damaged or something else: what is served stays right."""

import os
import random
import shutil
import socket
import unittest

from damage import OPEN, PAGE, READ, WRITE, Damage


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


if __name__ == "__main__":
    unittest.main()
