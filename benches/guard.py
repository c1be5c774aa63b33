#!/usr/bin/env python3
"""Counts the instructions of the hit path with callgrind; fails where one needs 3 % more than guard.json says.

    make bench-guard                 compares
    make bench-guard ARGS=--renew    writes the counts of now to guard.json

Time differs from machine to machine, and on a busy one from run to run; instructions do not: the build is for plain
x86-64, valgrind shows libc always the same CPU, and one thread asks for the same pages. They depend on the compiler, so
guard.json names it.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("guard.json")
CASES = ["hit", "try-hit", "hit-after-invalidation", "put", "revalidate-tag"]
CALLS = 2000
ALLOWED = 0.03
# libc chooses memcpy and memcmp by the CPU; without these features it chooses the same ones everywhere.
TUNABLES = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-Fast_Unaligned_Copy"


def build():
    """The program to be counted, built for plain x86-64 whatever the environment says."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")}
    command = ["cargo", "build", "--release", "--locked", "-q", "-p", "libisr-bench", "--bin", "bench-guard"]
    command += ["--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("bench-guard could not be built")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable"))


def count(program, case):
    """Instructions of one call."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=*counted*"]
        command += [f"--callgrind-out-file={folder}/out", program, case, f"--calls={CALLS}"]
        environment = {**os.environ, "GLIBC_TUNABLES": TUNABLES}
        done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected or collected[1] == "0":
        sys.exit(f"callgrind counted nothing of {case}:\n{done.stderr}")
    return round(int(collected[1]) / CALLS, 1)


def compare(counts, baseline):
    """The cases that became worse, as lines of text."""
    worse = []
    for case, now in counts.items():
        before = baseline["instructions"].get(case)
        if before is None:
            worse.append(f"{case}: {now} instructions a call, and {BASELINE.name} has no number of it")
        elif now > before * (1 + ALLOWED):
            more = 100 * (now / before - 1)
            worse.append(f"{case}: {now} instructions a call, {before} in {BASELINE.name}: {more:.1f} % more")
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--renew", action="store_true", help="write the counts to guard.json")
    args = parser.parse_args()
    if platform.machine() != "x86_64":
        print(f"skipped: the baseline is for x86-64, this is {platform.machine()}")
        return 0
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    program = build()
    counts = {case: count(program, case) for case in CASES}
    if args.renew:
        BASELINE.write_text(json.dumps({"rustc": compiler, "instructions": counts}, indent=2) + "\n")
        print(f"written to {BASELINE.relative_to(ROOT)}: {counts}")
        return 0
    baseline = json.loads(BASELINE.read_text())
    for case, now in counts.items():
        print(f"{case:<26}{now:>10} instructions a call, baseline {baseline['instructions'].get(case)}")
    worse = compare(counts, baseline)
    if worse:
        print("\nbench-guard: more than 3 % worse:", *worse, sep="\n  ", file=sys.stderr)
        print("If that is what the change is worth: make bench-guard ARGS=--renew, and commit it.", file=sys.stderr)
        if compiler != baseline["rustc"]:
            note = f"The baseline is of rustc {baseline['rustc']}, this is {compiler}; that alone may be the cause."
            print(note, file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
