"""Runs conformance scenarios against the Python module and prints TAP; exits with 1 if one failed or there was none.

python runner.py FILES_OR_FOLDERS            callbacks are `def`
python runner.py --async FILES_OR_FOLDERS    callbacks are `async def`

With ISR_SCENARIO_DIRECTORY=1 in the environment every scenario gets a fresh directory, not only those that persist.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from conformance import Report, run_file, scenario_files


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs conformance scenarios against the Python module; prints TAP.")
    parser.add_argument("paths", nargs="+", type=Path, help="scenario files, and folders whose *.json files are taken")
    parser.add_argument("--async", action="store_true", dest="use_async", help="async callbacks, and aget")
    arguments = parser.parse_args()
    files = scenario_files(arguments.paths)
    if not files:
        print("no scenario: none of the folders has a *.json file", file=sys.stderr)
        return 1
    # Failing renders are what scenarios are about.
    logging.getLogger("libisr").setLevel(logging.CRITICAL)
    with_directory = os.environ.get("ISR_SCENARIO_DIRECTORY") == "1"
    print(f"1..{len(files)}")
    failed = False
    for i, file in enumerate(files):
        report = run_file(file, arguments.use_async, with_directory)
        failed |= report.verdict == "failed"
        show(i + 1, "python-async" if arguments.use_async else "python", report)
    return int(failed)


def show(number: int, language: str, report: Report) -> None:
    # A `#` in a name would begin a directive.
    name = one_line(report.name).replace("#", "\\#")
    title = f"{number} - {language} {report.file}: {name}"
    if report.verdict == "passed":
        print(f"ok {title}")
    else:
        print(f"not ok {title}")
        for line in report.lines:
            print(f"# {one_line(line)}")
    sys.stdout.flush()


def one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


if __name__ == "__main__":
    sys.exit(main())
