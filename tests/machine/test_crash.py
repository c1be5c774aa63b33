"""The kill loop, for some seconds, and that it would see if something were wrong."""

import contextlib
import io
import unittest

import crash


class KillLoop(unittest.TestCase):
    """`make test-crash` is the long one."""

    def run_loop(self, *arguments):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = crash.run(crash.arguments(arguments))
        return status, said.getvalue()

    def test_no_promise_is_broken(self):
        status, said = self.run_loop("--rounds", "3", "--seconds", "5")
        self.assertEqual(status, 0, said)

    def test_without_a_directory_promises_are_broken(self):
        status, said = self.run_loop("--rounds", "1", "--seconds", "2", "--without-directory")
        self.assertEqual(status, 1, said)
        self.assertIn("too old: get /", said)


if __name__ == "__main__":
    unittest.main()
