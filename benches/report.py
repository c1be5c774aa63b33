"""The table on the terminal, and docs/benchmarks.md."""

from datetime import UTC, datetime
from pathlib import Path

import machine
import plots
from results import goals

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks.md"
PLOTS = ROOT / "docs/benchmarks"

AXES = {
    "rust": lambda x: f"{x:.0f} thread{'s' * (x > 1)}",
    "latency": lambda x: f"p{x:g}",
    "scale": lambda x: f"{x:,.0f} pages",
}
PARTS = {
    "rust": (
        "Rust",
        "Wall time of a look-up over all threads (of one thread its processor time), keys in Zipf order (0.99), "
        "nobody evicts. The peers look up an `Arc` by a path; the limit is a frozen `HashMap` that nobody could "
        "write to. libisr does that with all of its semantics: time, epochs of tags and paths, statistics.",
    ),
    "c": (
        "C",
        "The same through `libisr.so`, in turns with the same pages in Rust, each in a process of its own. "
        "Processor time.",
    ),
    "node": (
        "Node",
        "A synchronous hit, and its body: processor time, the garbage collector with it. Same strings: the very "
        "strings that the pages were stored by. Fresh strings: each made from bytes for the look-up, as a URL from "
        "a socket; the time of that is in the numbers, and in a row of its own.",
    ),
    "python": (
        "Python",
        "A synchronous hit, the `for` loop included, processor time. Fresh strings have no hash yet. `aget` and "
        "cashews are awaited.",
    ),
    "http": (
        "HTTP",
        "CPU time of the server's processes, user and system, for a request of a stored page of 10 KB over "
        "connections that stay open; wrk runs on another core. The servers take turns.",
    ),
    "latency": (
        "Hits beside other work",
        "2,000 pages of 10 KB, one thread that asks, one that works. Time is read once for 16 hits. p99.9 is "
        "mostly the scheduler of the system.",
    ),
    "scale": (
        "Cost as the work grows",
        "Bodies of 64 bytes, so that the number of pages counts and not their size; hits in Zipf order. One page "
        "in ten has the tag that is invalidated. *Counted* is what `bytes_stored` says, *resident* what the "
        "process has more in memory; both without path and body. Times are processor time, opening and closing a "
        "directory wall time.",
    ),
    "directory": (
        "A directory",
        "What keeping the pages on disk costs: microseconds a call.",
    ),
}


def number(value):
    """Three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(results, part, case, name, x):
    value = results.get(part, case, name, x)
    base = results.base(part, case, x)
    if value is None or not base or results.get(part, case, name, x) == base:
        return number(value)
    return f"{number(value)} ({value / base:.2f})"


def text(results):
    """One table for the terminal."""
    lines = [f"{'part':<10} {'case':<42} {'name':<38} {'at':>17} {'median':>11} {'unit':<7} {'to libisr':>9}"]
    for (part, case, name, x), value in results.values.items():
        base = results.base(part, case, x)
        at = AXES[part](x) if part in AXES else ""
        ratio = f"{value / base:.2f}" if base else ""
        unit = results.units[part, case]
        lines.append(f"{part:<10} {case:<42} {name:<38} {at:>17} {number(value):>11} {unit:<7} {ratio:>9}")
    lines += [f"{row['part']:<10} skipped: {row['case']}: {row['skipped']}" for row in results.skipped]
    lines += ["", *(f"{what:<56} {goal:<16} {number(value):>8} {met(ok)}" for what, goal, value, ok in goals(results))]
    return "\n".join(lines)


def met(ok):
    return "not measured" if ok is None else "reached" if ok else "not reached"


def table(results, part, case):
    """Names down, the axis across."""
    axis = results.axis(part, case)
    unit = results.units[part, case]
    head = [AXES[part](x) for x in axis] if part in AXES else [unit]
    lines = [f"**{case}**" + (f", {unit}" if part in AXES else ""), ""]
    lines += ["| | " + " | ".join(head) + " |", "|---|" + "---:|" * len(axis)]
    for name in results.names(part, case):
        cells = [cell(results, part, case, name, x) for x in axis]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def page(results, busy, drawn):
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; it runs everything in one go. Medians of rounds in which all take turns; in brackets "
        "the ratio to libisr (or to idle): above 1, libisr is faster. Ratios hold better than absolute figures.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {what} | {value} |" for what, value in machine.facts()),
        f"| run | {datetime.now(UTC):%Y-%m-%d}; other processes took {busy:.0f} % of the machine's CPU time meanwhile"
        f"{': it was busy, the figures are worse than on a machine of its own' if busy > 5 else ''} |",
        "",
        "## Goals",
        "",
        "| | goal | measured | |",
        "|---|---|---:|---|",
        *(f"| {what} | {goal} | {number(value)} | {met(ok)} |" for what, goal, value, ok in goals(results)),
        "",
    ]
    for part, (title, words) in PARTS.items():
        lines += [f"## {title}", "", words, ""]
        for case in results.cases(part):
            lines += table(results, part, case)
        lines += [f"Skipped: {row['case']}: {row['skipped']}.\n" for row in results.skipped if row["part"] == part]
        lines += [f"![{alt}](benchmarks/{name}.svg)\n" for name, (of, alt) in drawn.items() if of == part]
    return "\n".join(lines).rstrip() + "\n"


def write(results, busy):
    drawn = plots.draw(results, PLOTS)
    PAGE.write_text(page(results, busy, drawn))
    print(f"written: {PAGE.relative_to(ROOT)}")
