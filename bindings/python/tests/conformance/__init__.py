"""Runs conformance scenarios (docs/scenarios.md) against the Python module."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .expect import Fault
from .format import Malformed, Scenario, parse
from .world import World

__all__ = ["Report", "run", "run_file", "scenario_files"]


@dataclass
class Report:
    """What became of one scenario."""

    file: str
    name: str
    verdict: Literal["passed", "failed"]
    lines: list[str] = field(default_factory=list)
    """Where and how it failed."""


def scenario_files(paths: list[Path]) -> list[Path]:
    """The scenario files among these files and folders, each folder's sorted by name."""
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return files


def run_file(path: Path, use_async: bool, with_directory: bool = False) -> Report:
    """Runs the scenario in one file; `with_directory` gives it a directory even if it does not persist."""
    try:
        scenario = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except (OSError, ValueError) as error:
        return Report(path.name, "(not JSON)", "failed", [str(error)])
    return run(path.name, scenario, use_async, with_directory)


def run(file: str, raw: Any, use_async: bool, with_directory: bool = False) -> Report:
    """Runs one scenario."""
    name = raw.get("name") if isinstance(raw, dict) else None
    report = Report(file, name if isinstance(name, str) else "(no name)", "passed")
    try:
        scenario = parse(raw)
        with contextlib.ExitStack() as stack:
            directory = None
            if with_directory or scenario.cache.get("persist"):
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="isr-scenario-"))
            _steps(scenario, use_async, directory)
    except Malformed as error:
        report.verdict, report.lines = "failed", [f"not a scenario: {error}"]
    except Fault as fault:
        report.verdict, report.lines = "failed", fault.lines
    return report


def _steps(scenario: Scenario, use_async: bool, directory: str | None) -> None:
    world = World(scenario, use_async, directory)
    try:
        for i, step in enumerate(scenario.steps):
            try:
                world.run(step)
            except Fault as fault:
                where = f"step {i + 1} of {len(scenario.steps)}: {step.text}"
                raise Fault([where, *(f"  {line}" for line in fault.lines)]) from None
    except BaseException:
        world.close(quietly=True)
        raise
    world.close()


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
