#!/usr/bin/env python3
"""A million stored pages: how long opening takes, and what it and the first hits read."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from machine import WORKER

# Two processes fill, each its part.
WRITERS = 2
# Seconds, and calls that read.
MOST_TO_OPEN = 0.1
MOST_READS_TO_OPEN = 20
FILE_CALLS = "trace=%file,%desc,read,pread64,fcntl,mmap"


def run(*arguments):
    done = subprocess.run([WORKER, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def fill(directory, pages):
    began = time.monotonic()
    part = pages // WRITERS
    writers = [
        subprocess.Popen(
            [WORKER, "fill", "--directory", directory, "--from", str(n * part), "--pages", str(part)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(WRITERS)
    ]
    for writer in writers:
        said, _ = writer.communicate()
        if writer.returncode:
            sys.exit(f"fill ended with {writer.returncode}: {said}")
    return time.monotonic() - began


def probe(directory, pages, hits):
    return json.loads(run("probe", "--directory", directory, "--pages", str(pages), "--hits", str(hits)))


def less(cost, look):
    """Without what looking at the counters costs."""
    return {name: max(cost[name] - look[name], 0) for name in ("bytes_read", "reads")} | {"us": cost["us"]}


def traced_calls(directory, pages, hits):
    """All calls on files of a process that opens and serves, by strace."""
    with tempfile.NamedTemporaryFile(mode="r") as out:
        command = ["strace", "-f", "-o", out.name, "-e", FILE_CALLS, WORKER, "probe"]
        command += ["--directory", directory, "--pages", str(pages), "--hits", str(hits)]
        subprocess.run(command, check=True, capture_output=True)
        lines = out.read().splitlines()
    # From the opening of the directory on, without the looks at the counters.
    first = next(n for n, line in enumerate(lines) if '"v1"' in line)
    return [line for line in lines[first:] if "/proc/self/io" not in line and '"rchar' not in line]


def drop_caches():
    """As after a start of the machine, where that is allowed."""
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        return True
    except OSError:
        return False


def report(name, value):
    print(f"{name:<58}{value}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=1_000_000)
    parser.add_argument("--place", help="where the directory is made (default: the system's temporary directory)")
    parser.add_argument("--cold", action="store_true", help="drop the machine's page cache first (root)")
    args = parser.parse_args()
    home = pathlib.Path(tempfile.mkdtemp(prefix="libisr-bench-", dir=args.place))
    directory = str(home / "cache")
    faults = []
    try:
        took = fill(directory, args.pages)
        report("pages stored", f"{args.pages}, {took / args.pages * 1e6:.0f} us each, {WRITERS} processes at once")
        if args.cold and not drop_caches():
            sys.exit("--cold: the page cache cannot be dropped here")
        # The first is the one that counts with --cold; others show how much of it is chance.
        opened = [probe(directory, args.pages, 200) for _ in range(1 if args.cold else 5)]
        for one in opened:
            cost = less(one["open"], one["look"])
            report("opened", f"{cost['us'] / 1000:.1f} ms, {cost['reads']} reads of {cost['bytes_read']} bytes")
            if cost["us"] > MOST_TO_OPEN * 1e6:
                faults.append(f"opening took {cost['us']} us; at most {MOST_TO_OPEN} s")
            if cost["reads"] > MOST_READS_TO_OPEN:
                faults.append(f"opening read {cost['reads']} times")
            hits = [less(hit, one["look"]) for hit in one["hits"]]
            reads = sorted({hit["reads"] for hit in hits})
            micros = [hit["us"] for hit in hits]
            report("first hits", f"{statistics.median(micros):.0f} us each (median), reads: {reads}")
            if one["disk_reads"] > len(hits) or max(reads) > 1:
                faults.append(f"first hits: {one['disk_reads']} files of {len(hits)} hits, calls that read: {reads}")
            if one["disk_errors"]:
                faults.append(f"disk_errors: {one['disk_errors']}")
        if shutil.which("strace"):
            none, one = (traced_calls(directory, args.pages, hits) for hits in (0, 1))
            report("calls on files to open, and to close", len(none))
            report("calls on files for the first hit", len(one) - len(none))
        for fault in faults:
            print(f"not as it should be: {fault}")
        return 1 if faults else 0
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
