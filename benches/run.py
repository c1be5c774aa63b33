#!/usr/bin/env python3
"""Runs the benches, prints one table of medians and ratios, and writes docs/benchmarks.md with plots.

    make bench                           everything, about a quarter of an hour
    make bench ARGS=--quick              small sizes, to see that it works; writes nothing
    make bench ARGS='--only rust,http'   some parts; writes nothing

The programs print rows as lines of JSON: part, case, name, x (where it stands on an axis), unit, value. Rows of one
name in one case are rounds, of which the median counts.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import report
import servers
from machine import Others
from results import Results

ROOT = Path(__file__).resolve().parent.parent
RELEASE = ROOT / "target/release"


def rows_of(*command):
    """The rows that a program prints."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed with status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def rust(quick):
    few = ["--pages", 10_000, "--body", 256, "--lookups", 200_000, "--rounds", 3] if quick else []
    return rows_of(RELEASE / "bench-hit", "--json", *few)


def c(quick):
    """In turns with the same in Rust, for a call is only a few nanoseconds."""
    pages, lookups, rounds = (10_000, 200_000, 3) if quick else (100_000, 1_000_000, 7)
    same = ["--pages", pages, "--lookups", lookups, "--body", 256, "--threads", 1, "--rounds", 1, "--alone", "--json"]
    rows = []
    for _ in range(rounds):
        through = rows_of(ROOT / "build/bench/hit", pages, lookups)
        direct = rows_of(RELEASE / "bench-hit", *same)
        for row in through + direct:
            known = {"libisr": "libisr through libisr.so" if row in through else "libisr in Rust"}
            name = known.get(row["name"], row["name"])
            case = f"hit, {pages} pages of 256 B, 1 thread"
            rows.append({"part": "c", "case": case, "name": name, "x": 1, "unit": "ns", "value": row["value"]})
    return rows


def latency(quick):
    return rows_of(RELEASE / "bench-latency", "--json", *(["--millis", 100, "--rounds", 3] if quick else []))


def scale(quick):
    few = ["--pages", "1000,100000", "--stored", "1000", "--lookups", 200_000, "--rounds", 3] if quick else []
    return rows_of(RELEASE / "bench-scale", "--json", *few)


def directory(quick):
    return rows_of(RELEASE / "bench-store", "--json", *(["--pages", 500, "--rounds", 3] if quick else []))


def node(quick):
    few = ["--pages", 10_000, "--lookups", 50_000, "--rounds", 3] if quick else []
    return rows_of("node", ROOT / "benches/node/hit.mjs", *few)


def python(quick):
    few = ["--pages", 10_000, "--lookups", 50_000, "--rounds", 3] if quick else []
    return rows_of(sys.executable, ROOT / "benches/python/hit.py", *few)


PARTS = {
    "rust": rust,
    "c": c,
    "node": node,
    "python": python,
    "http": servers.run,
    "latency": latency,
    "scale": scale,
    "directory": directory,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    parser.add_argument("--only", metavar="PART,...", help=f"some of {', '.join(PARTS)}; writes nothing")
    args = parser.parse_args()
    wanted = args.only.split(",") if args.only else list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"--only takes {', '.join(PARTS)}; got {', '.join(sorted(unknown))}")
    others, rows = Others(), []
    for part in wanted:
        begin = time.monotonic()
        rows += PARTS[part](args.quick)
        print(f"{part}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    results = Results(rows)
    print(report.text(results))
    if not args.quick and not args.only:
        report.write(results, others.percent())


if __name__ == "__main__":
    main()
