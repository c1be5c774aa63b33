#!/usr/bin/env python3
"""The story of a page, told by three servers: C++, Python and Node serve one site through libisr.

Starts them on free ports of 127.0.0.1 and checks each line that it prints. Then prints their addresses and stays until
Ctrl-C. With --once it ends by itself; the status is 0 only if every line came out as said.
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import time

from machine_story import MachineStory
from server_story import Story
from servers import COMMANDS, DATABASE, Fleet, Home, ServerError
from telling import Report


class Stopped(Exception):
    """Ctrl-C, or a request to end."""


def run(fleet, args):
    """The whole demo. The exit status."""
    report = Report()
    machine = MachineStory(fleet, report)
    report.title(f"one directory for all: {fleet.home.directory}")
    machine.start()
    for server in fleet.servers:
        report.title(f"{server.name}  {server.url}")
        Story(server, report, is_first=server is fleet.servers[0]).tell()
    if len(fleet.servers) > 1:
        report.title("all together")
        machine.tell()
    good = report.claims - len(report.failed)
    print(f"\n{good} of {report.claims} claims came out as said.", flush=True)
    for claim in report.failed:
        print(f"  wrong: {claim}")
    if not args.once:
        print("\nThe servers are up until Ctrl-C:")
        for server in fleet.servers:
            print(f"  {server.name:<8}{server.url}/   admin token: {server.token}")
        sys.stdout.flush()
        with contextlib.suppress(Stopped):
            while True:
                time.sleep(0.5)
                for server in fleet.servers:
                    server.check_alive()
    return 1 if report.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the story, with status 0 if every line held")
    parser.add_argument("--only", metavar="NAMES", default=",".join(COMMANDS), help="some of c,python,node")
    args = parser.parse_args()
    names = args.only.split(",")
    for name in names:
        if name not in COMMANDS:
            parser.error(f"--only takes {', '.join(COMMANDS)}; got {name!r}")
    if not DATABASE.exists():
        parser.error(f"{DATABASE} is missing: `make demo` imports it")
    sys.stdout.reconfigure(errors="replace")

    def stop(number, _frame):
        raise Stopped(signal.Signals(number).name)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="libisr-demo-") as folder, contextlib.ExitStack() as stack:
        try:
            fleet = Fleet(names, Home(folder))
            stack.callback(fleet.abandon)
            fleet.begin()
            status = run(fleet, args)
            fleet.end()
            return status
        except ServerError as error:
            print(f"\ndemo: {error}", file=sys.stderr)
        except Stopped as error:
            print(f"\ndemo: stopped by {error} before the end of the story", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
