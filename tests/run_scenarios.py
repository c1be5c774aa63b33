#!/usr/bin/env python3
"""Runs scenarios through all four runners and prints one TAP stream.

usage: run_scenarios.py [--only LANGUAGE]... [--directory] FILE_OR_FOLDER...

The runners (Rust on the core, C over isr.h, Python, Node) must have been built: `make scenarios DIR=...` does that.
Exit status: 0 if every scenario passed in every language, 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"

RUNNERS: dict[str, list[str]] = {
    "rust": [str(BUILD / "runner-rust")],
    "c": [str(BUILD / "c" / "runner")],
    "python": [str(ROOT / ".venv/bin/python"), str(ROOT / "bindings/python/tests/runner.py")],
    "node": ["node", str(ROOT / "bindings/node/test/runner.mjs")],
}

RESULT = re.compile(r"^(ok|not ok) \d+ - (.*)$")
PLAN = re.compile(r"^1\.\.(\d+)$")


class Tally:
    """Counts results and gives each its number in the joint stream."""

    def __init__(self) -> None:
        self.number = self.passed = self.failed = self.todo = 0

    def result(self, verdict: str, text: str) -> None:
        self.number += 1
        if verdict == "ok":
            self.passed += 1
        elif "# TODO" in text:
            self.todo += 1
        else:
            self.failed += 1
        print(f"{verdict} {self.number} - {text}", flush=True)


def run(language: str, command: list[str], paths: list[str], tally: Tally) -> None:
    """Runs one runner; a runner that stops early is a failure of its own."""
    planned, seen, failed_before = None, 0, tally.failed
    try:
        process = subprocess.Popen([*command, *paths], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    except OSError as error:
        tally.result("not ok", f"{language} runner: cannot be started: {error}")
        return
    assert process.stdout is not None
    for line in process.stdout:
        line = line.rstrip("\n")
        if match := PLAN.match(line):
            planned = int(match[1])
        elif match := RESULT.match(line):
            seen += 1
            tally.result(match[1], match[2])
        else:
            print(line, flush=True)
    status = process.wait()
    if planned is None or seen != planned:
        tally.result("not ok", f"{language} runner: ended with status {status} after {seen} of {planned} scenarios")
    elif (status != 0) != (tally.failed > failed_before):
        tally.result("not ok", f"{language} runner: its status {status} does not fit its results")


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs scenarios in all four languages and prints TAP.")
    parser.add_argument("paths", nargs="+", metavar="FILE_OR_FOLDER")
    parser.add_argument("--only", action="append", choices=sorted(RUNNERS), help="only this language (may be repeated)")
    parser.add_argument(
        "--directory", action="store_true", help="every scenario with a directory, not only those that persist"
    )
    args = parser.parse_args()
    if args.directory:
        os.environ["ISR_SCENARIO_DIRECTORY"] = "1"
    paths = [os.path.abspath(p) for p in args.paths]
    for path in paths:
        if not os.path.exists(path):
            parser.error(f"no such file or folder: {path}")
    tally = Tally()
    print("TAP version 13")
    for language, command in RUNNERS.items():
        if not args.only or language in args.only:
            run(language, command, paths, tally)
    print(f"1..{tally.number}")
    print(f"scenarios: {tally.passed} passed, {tally.failed} failed, {tally.todo} skipped")
    return 1 if tally.failed or not tally.number else 0


if __name__ == "__main__":
    sys.exit(main())
