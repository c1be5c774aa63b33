#!/usr/bin/env python3
"""Hits of libisr beside other caches of Python: nanoseconds of processor time a look-up, as lines of JSON.

Medians of interleaved rounds. Each row has the cost of a `for` loop in it. cashews is asynchronous, and awaited.
"""

import argparse
import asyncio
import bisect
import functools
import itertools
import json
import random
import statistics
import time

import cashews
import libisr
from cachetools import TTLCache

BODY = b"x" * 256


def zipf(pages, lookups):
    """Indices in Zipf order with exponent 0.99, the same on every run."""
    source = random.Random(7)
    cumulated = list(itertools.accumulate(rank**-0.99 for rank in range(1, pages + 1)))
    keys = list(range(pages))
    source.shuffle(keys)
    return [keys[bisect.bisect_left(cumulated, source.random() * cumulated[-1])] for _ in range(lookups)]


def sync_round(look):
    """A round of a function of a path."""

    def run(keys):
        begin = time.thread_time_ns()
        for key in keys:
            look(key)
        return time.thread_time_ns() - begin

    return run


def async_round(look):
    """A round of a coroutine function of a path, on a loop that runs already when time begins."""

    async def measured(keys):
        begin = time.thread_time_ns()
        for key in keys:
            await look(key)
        return time.thread_time_ns() - begin

    return lambda keys: asyncio.run(measured(keys))


def contestants(paths):
    cache = libisr.Cache(max_bytes=1 << 36)
    cache.page("/blog/[id]", tags=["blog"])(lambda job: BODY)
    stored = {}
    ttl = TTLCache(2 * len(paths), ttl=3600)
    memory = cashews.Cache()
    memory.setup("mem://", size=2 * len(paths))

    @functools.lru_cache(maxsize=2 * len(paths))
    def cached(path):
        return stored[path]

    for path in paths:
        cache.put(path, BODY, cache.started())
        stored[path] = ttl[path] = bytes(BODY)
        cached(path)

    async def fill():
        for path in paths:
            await memory.set(path, BODY, expire=3600)

    asyncio.run(fill())
    for name, look in (("libisr", lambda p: cache.get(p).body), ("cachetools", ttl.get), ("lru_cache", cached)):
        if bytes(look(paths[0])) != BODY:
            raise SystemExit(f"{name} does not give the page")
    # The number is what part of the look-ups a round has.
    return {
        "libisr": (sync_round(cache.get), 1),
        "limit: dict": (sync_round(stored.get), 1),
        "functools.lru_cache": (sync_round(cached), 1),
        "cachetools.TTLCache": (sync_round(ttl.get), 1),
        "libisr, aget": (async_round(cache.aget), 10),
        "cashews (mem)": (async_round(memory.get), 10),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--lookups", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    paths = [f"/blog/{n}" for n in range(args.pages)]
    order = [paths[n] for n in zipf(args.pages, args.lookups)]
    # A string keeps its hash: a path that came from a socket has none yet.
    encoded = [path.encode() for path in order]
    all_of_them = contestants(paths)
    samples = {}
    for number in range(args.rounds + 1):
        for kind in ("same", "fresh"):
            for name, (run, part) in all_of_them.items():
                count = len(order) // part
                keys = order[:count] if kind == "same" else [key.decode() for key in encoded[:count]]
                nanos = run(keys) / count
                if number > 0:  # the first round warms up
                    samples.setdefault((kind, name), []).append(nanos)
    for (kind, name), times in samples.items():
        case = f"hit, {args.pages} pages, {kind} strings"
        value = round(statistics.median(times), 2)
        print(json.dumps({"part": "python", "case": case, "name": name, "x": args.pages, "unit": "ns", "value": value}))


if __name__ == "__main__":
    main()
