"""What the numbers were measured on: the machine, without its name, and versions of everything."""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = ("foyer-memory", "lru", "moka", "quick_cache")
PYTHON_PACKAGES = ("cachetools", "cashews", "uvicorn", "httptools", "uvloop", "matplotlib")


def said(*command):
    """What a program says, both streams; empty if it is not there."""
    with contextlib.suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()
    return ""


def version(text):
    """The first version number in a text."""
    found = re.search(r"\d+\.\d+(\.\d+)*", text)
    return found[0] if found else "not installed"


def facts():
    """Lines of (what, value)."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "nginx"
    libc = " ".join(platform.libc_ver())
    return [
        ("CPU", f"{cpu[1] if cpu else platform.processor()}, {os.cpu_count()} cores"),
        ("memory", f"{memory:.0f} GiB"),
        ("kernel", f"{platform.system()} {version(platform.release())}, {platform.machine()}"),
        ("C", f"gcc {version(said('gcc', '-dumpfullversion'))}, {libc}"),
        ("Rust", f"rustc {version(said('rustc', '--version'))}; " + ", ".join(crates())),
        ("Node", f"node {version(said('node', '--version'))}; " + ", ".join(npm_packages())),
        ("Python", f"python {platform.python_version()}; " + ", ".join(python_packages())),
        (
            "HTTP",
            f"libmicrohttpd {version(said('pkg-config', '--modversion', 'libmicrohttpd'))}, "
            f"glib {version(said('pkg-config', '--modversion', 'glib-2.0'))}, "
            f"nginx {version(said(nginx, '-v'))}, wrk {version(said('wrk', '-v'))}",
        ),
    ]


def crates():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return [f"{p['name']} {p['version']}" for p in lock["package"] if p["name"] in CRATES]


def npm_packages():
    found = {}
    for folder in ("node", "next"):
        with contextlib.suppress(OSError):
            lock = json.loads((ROOT / "benches" / folder / "package-lock.json").read_text())
            for name in lock["packages"][""]["dependencies"]:
                found[name] = lock["packages"].get(f"node_modules/{name}", {}).get("version")
    return [f"{name} {number}" for name, number in found.items() if number]


def python_packages():
    return [f"{name} {importlib.metadata.version(name)}" for name in PYTHON_PACKAGES]


class Others:
    """How much of the machine's CPU went to processes that are not of this run."""

    def __init__(self):
        self.begin = self.read()

    @staticmethod
    def read():
        ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
        own = sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        return sum(ticks) / tick, (sum(ticks) - ticks[3] - ticks[4]) / tick, own

    def percent(self):
        """Since it was made."""
        total, busy, own = (now - then for now, then in zip(self.read(), self.begin, strict=True))
        return max(0.0, 100 * (busy - own) / total) if total else 0.0
