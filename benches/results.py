"""Rows of results, and what is read out of them: medians, ratios, goals."""

import statistics

# Names that are libisr itself, and not a peer of it.
OWN = "libisr"
# What work beside hits is compared with.
IDLE = "idle"


class Results:
    """All rows of a run. Several rows of one name in one case are rounds, of which the median counts."""

    def __init__(self, rows):
        self.skipped = [row for row in rows if "skipped" in row]
        samples, self.units = {}, {}
        for row in rows:
            if "skipped" not in row:
                key = (row["part"], row["case"], row["name"], row["x"])
                samples.setdefault(key, []).append(row["value"])
                self.units[row["part"], row["case"]] = row["unit"]
        self.values = {key: statistics.median(values) for key, values in samples.items()}

    def cases(self, part):
        """The cases of a part, in the order of the run."""
        return list(dict.fromkeys(case for p, case, _, _ in self.values if p == part))

    def names(self, part, case):
        return list(dict.fromkeys(name for p, c, name, _ in self.values if (p, c) == (part, case)))

    def axis(self, part, case):
        return sorted({x for p, c, _, x in self.values if (p, c) == (part, case)})

    def get(self, part, case, name, x):
        return self.values.get((part, case, name, x))

    def base(self, part, case, x):
        """What others are compared with: libisr's plain way, where the case has one."""
        names = self.names(part, case)
        own = [name for name in names if OWN in name or name == IDLE]
        return self.get(part, case, own[0], x) if own and len(own) < len(names) else None

    def find(self, part, case, name, x=None):
        """The value of the first row whose case and name contain these, or None."""
        for (p, c, n, at), value in self.values.items():
            if p == part and case in c and name in n and x in (None, at):
                return value
        return None


def goals(results):
    """(what, goal, measured or None, reached or None), as the project has set them."""

    def ratio(over, under):
        return over / under if over and under else None

    def least(what, goal, value):
        return (what, f"at least {goal}", value, None if value is None else value >= goal)

    def most(what, goal, value):
        return (what, f"at most {goal}", value, None if value is None else value <= goal)

    def rust(name, threads):
        return results.find("rust", "hit", name, threads)

    isr = {threads: rust("libisr", threads) for threads in (1, 2, 8)}
    direct, through_c = results.find("c", "hit", "libisr in Rust"), results.find("c", "hit", "libisr through")
    found = [
        least("Rust, 1 thread: quick_cache ÷ libisr", 1.25, ratio(rust("quick_cache", 1), isr[1])),
        least("Rust, 1 thread: limit ÷ libisr", 0.8, ratio(rust("limit", 1), isr[1])),
        least("Rust, 2 threads: quick_cache ÷ libisr", 1.3, ratio(rust("quick_cache", 2), isr[2])),
        most("Rust, 8 threads ÷ 2 threads", 1.05, ratio(isr[8], isr[2])),
        most("C ABI − Rust, ns", 5, through_c - direct if direct and through_c else None),
    ]
    for kind in ("same", "fresh"):
        value = ratio(results.find("node", kind, "libisr"), results.find("node", kind, "lru-cache"))
        found.append(most(f"Node, {kind} strings: libisr ÷ lru-cache with ttl", 0.75, value))
    for kind in ("same", "fresh"):
        value = ratio(results.find("python", kind, "libisr"), results.find("python", kind, "functools"))
        found.append(most(f"Python, {kind} strings: libisr ÷ functools.lru_cache", 0.8, value))
    for language, goal in (("C", 1.08), ("Node", 1.05), ("Python", 1.10)):
        value = ratio(results.find("http", f"{language}:", ", libisr"), results.find("http", f"{language}:", "limit"))
        found.append(most(f"HTTP, {language}: libisr ÷ limit", goal, value))
    value = ratio(results.find("http", "Node:", "Next.js"), results.find("http", "Node:", ", libisr"))
    found.append(least("HTTP, Node: Next.js ÷ libisr", 35, value))
    idle = results.find("latency", "latency of a hit", "idle", 99)
    for work in ("regenerations", "tags a second", "evicted"):
        value = ratio(results.find("latency", "latency of a hit", work, 99), idle)
        found.append(most(f"p99 of hits, {work}: ÷ idle", 2, value))
    memory = [v for (p, _, name, _), v in results.values.items() if p == "scale" and "counted" in name]
    found.append(most("bytes a page beyond path and body", 150, max(memory, default=None)))
    calls = [v for (p, _, name, _), v in results.values.items() if p == "scale" and "revalidate" in name]
    found.append(most("slowest invalidation at any number of pages, ns", 1000, max(calls, default=None)))
    return found
