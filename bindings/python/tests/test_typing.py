"""The stubs say what the module is, and a user's program passes the strict checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ["mypy", "--strict", "tests/typing_sample.py", "python"],
        [
            "mypy.stubtest",
            "libisr",
            "--mypy-config-file",
            "pyproject.toml",
            "--allowlist",
            "tests/stubtest-allowlist.txt",
        ],
    ],
    ids=["mypy", "stubtest"],
)
def test_types(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
