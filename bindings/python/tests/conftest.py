"""Fixtures: a manual clock, and a cache on it that is closed at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import libisr
import pytest


@pytest.fixture
def clock() -> libisr.ManualClock:
    return libisr.ManualClock()


@pytest.fixture
def cache(clock: libisr.ManualClock) -> Iterator[libisr.Cache]:
    with libisr.Cache(clock=clock, backoff_jitter=0, default_timeout=None) as cache:
        yield cache


def until(ready: Callable[[], bool]) -> None:
    """Waits for something that happens on another thread and tells nobody; fails after 20 s."""
    deadline = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.0002)


def settle(cache: libisr.Cache) -> None:
    """Waits until no render or load runs."""

    def quiet() -> bool:
        before = cache.activity()
        return before.queued == before.running == 0 and cache.activity() == before

    until(quiet)


BEGIN = """
import asyncio, os, signal, sys, threading, time
import libisr
cache = libisr.Cache()
begun = threading.Event()
"""


def run(program: str, status: int = 0, timeout: float = 30) -> str:
    """Runs a program in a Python of its own, with warnings as errors; what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", BEGIN + program],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert "panicked" not in done.stderr
    assert "Fatal" not in done.stderr
    return done.stdout + done.stderr
