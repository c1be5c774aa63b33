"""The shared conformance scenarios pass, and the runner that says so can fail."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance import Report, run, run_file, scenario_files

FILES = scenario_files([Path(__file__).parents[3] / "tests" / "scenarios"])


def test_there_are_scenarios() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("use_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("with_directory", [False, True], ids=["memory", "directory"])
def test_scenario(file: Path, use_async: bool, with_directory: bool) -> None:
    report = run_file(file, use_async, with_directory)
    assert report.verdict == "passed", "\n".join(report.lines)


GOOD: dict[str, Any] = {
    "name": "n",
    "spec": "3",
    "routes": [{"pattern": "/p/[id]", "revalidate": 60, "tags": ["t"]}],
    "renders": {"/p/1": [{"body": "{data:k}{param:id}{param:x}", "reads": [{"data": "k"}]}]},
    "data": {"k": [{"value": "A"}]},
    "steps": [
        {
            "get": "/p/1",
            "expect": {"cache": "miss", "status": 200, "body": "A1{param:x}", "headers": {"etag": "$E"}},
        },
        {"get": "/p/1", "headers": {"if-none-match": '"x", $E'}, "expect": {"status": 304}},
        {"inspect": "/p/1", "expect": {"state": "fresh", "tags": ["t"], "revalidate": 60, "age": 0}},
        {"counts": {"/p/1": 1}},
        {"get": "no", "expect": {"error": "invalid_path", "message": "no"}},
        {"hold": "/p/2"},
        {"start": "A", "get": "/p/2"},
        {"pending": "A"},
        {"release": "/p/2"},
        {"join": "A", "expect": {"cache": "miss"}},
        {"data_get": ["a", "b"], "expect": {"value": '["a","b"]'}},
    ],
}


def spoilt(place: str, value: Any) -> dict[str, Any]:
    """The good scenario with another value at this place."""
    scenario = copy.deepcopy(GOOD)
    *way, last = [int(part) if part.isdigit() else part for part in place.split()]
    target: Any = scenario
    for part in way:
        target = target[part]
    target[last] = value
    return scenario


@pytest.mark.parametrize("use_async", [False, True], ids=["sync", "async"])
def test_the_good_scenario_passes(use_async: bool) -> None:
    assert run("x.json", GOOD, use_async) == Report("x.json", "n", "passed")


@pytest.mark.parametrize("use_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("steps 0 expect cache", "hit", "step 1 of 11"),
        ("steps 0 expect cache", "hit", 'cache: expected "hit", got "miss"'),
        ("steps 0 expect status", 404, "status: expected 404, got 200"),
        ("steps 0 expect body", "B", "body: expected"),
        ("steps 0 expect body_base64", "QQ==", "body_base64: expected"),
        ("steps 0 expect headers", {"etag": None}, "header etag: expected it to be absent"),
        ("steps 0 expect headers", {"x-none": "$N"}, "header x-none: expected any value"),
        ("steps 0 expect headers", {"Age": "1"}, 'header age: expected "1", got "0"'),
        ("steps 0 expect error", "render", 'error: expected "render", got null'),
        ("steps 1 headers if-none-match", "$NEVER", "nothing is stored as $NEVER"),
        ("steps 1 headers if-none-match", '"x"', "expected 304, got 200"),
        ("steps 2 expect state", "stale", "state: expected"),
        ("steps 2 expect tags", [], 'tags: expected [], got ["t"]'),
        ("steps 2 expect revalidate", False, "revalidate: expected false"),
        ("steps 2 expect age", 1, "age: expected 1"),
        ("steps 3 counts", {"/p/1": 2}, "/p/1: expected 2, got 1"),
        ("steps 3", {"data_counts": {"k": 2}}, "k: expected 2, got 1"),
        ("steps 4 expect", {"cache": "hit"}, 'error that was not expected: "invalid_path"'),
        ("steps 4 expect message", "yes", 'message: expected "yes"'),
        ("steps 5", {"settle": True}, "was answered"),
        ("steps 9 expect cache", "hit", "cache: expected"),
        ("steps 10 expect value", "a", "value: expected"),
    ],
)
def test_what_is_not_so_fails(place: str, value: Any, says: str, use_async: bool) -> None:
    report = run("x.json", spoilt(place, value), use_async)
    assert report.verdict == "failed"
    assert any(says in line for line in report.lines), report.lines


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("x", 1),
        ("name", 1),
        ("cache", {"x": 1}),
        ("cache", {"threads": [1]}),
        ("routes 0 x", 1),
        ("routes 0 tags", "t"),
        ("renders", {"/p/1": []}),
        ("renders", {"/p/1": [{"x": 1}]}),
        ("renders", {"/p/1": [{"panic": True}]}),
        ("renders", {"/p/1": [{"redirect": {"to": "/", "x": 1}}]}),
        ("renders", {"/p/1": [{"reads": [{"data": "k", "x": 1}]}]}),
        ("renders", {"/p/1": [{"reads": [{"data": "k", "reads": [{"data": "k", "x": 1}]}]}]}),
        ("data", {"k": [{"x": 1}]}),
        ("data", {"k": [{"value": "a", "error": "b"}]}),
        ("steps 0 x", 1),
        ("steps 0 expect x", 1),
        ("steps 0 expect status", "200"),
        ("steps 0 settle", True),
        ("steps 0", {}),
        ("steps 0", {"x": 1}),
        ("steps 0", {"settle": False}),
        ("steps 0", {"settle": True, "expect": {}}),
        ("steps 0", {"get": "/", "method": "POST"}),
        ("steps 0", {"start": "A", "advance": 1}),
        ("steps 0", {"start": "A", "get": "/", "expect": {}}),
        ("steps 0", {"join": "Z"}),
        ("steps 0", {"inspect": "/p/1", "expect": {"error": "no_route"}}),
        ("steps 0", {"revalidate_path": "/", "type": "all"}),
        ("steps 0", {"add_route": {"x": 1}}),
        ("steps 9", {"join": "A", "expect": {"value": "x"}}),
    ],
)
def test_what_the_format_does_not_know_fails(place: str, value: Any) -> None:
    report = run("x.json", spoilt(place, value), False)
    assert report.verdict == "failed"
    assert report.lines[0].startswith("not a scenario: "), report.lines


def test_tap(tmp_path: Path) -> None:
    import json

    scenarios = {
        "a-good": GOOD,
        "b-bad": spoilt("steps 3 counts", {"/p/1": 2}) | {"name": "b #1\nx"},
        "c-persist": spoilt("cache", {"persist": True}),
    }
    for name, scenario in scenarios.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(scenario))
    (tmp_path / "d-broken.json").write_text("{")
    runner = Path(__file__).with_name("runner.py")

    def tap(*arguments: object) -> tuple[int, list[str]]:
        done = subprocess.run(
            [sys.executable, runner, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout.splitlines()

    status, lines = tap(tmp_path)
    assert status == 1
    assert lines[:3] == ["1..4", "ok 1 - python a-good.json: n", "not ok 2 - python b-bad.json: b \\#1\\nx"]
    assert lines[3].startswith("# step 4 of 11: ")
    assert lines[4] == "#   /p/1: expected 2, got 1"
    assert lines[5] == "ok 3 - python c-persist.json: n"
    assert lines[6] == "not ok 4 - python d-broken.json: (not JSON)"
    assert tap("--async", tmp_path / "a-good.json", tmp_path / "c-persist.json") == (
        0,
        ["1..2", "ok 1 - python-async a-good.json: n", "ok 2 - python-async c-persist.json: n"],
    )
    (tmp_path / "empty").mkdir()
    assert tap(tmp_path / "empty") == (1, [])
