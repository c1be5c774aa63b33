"""The documents' examples run, and their tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import libisr
import pytest
from libisr import _errors, _libisr

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "python.md").read_text()


def examples(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.S)


def test_the_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    program = examples(DOCS)[0]
    exec(program, {"__name__": "example"})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\)  # (.*)", program)


def test_the_test_of_the_docs() -> None:
    names = {"libisr": libisr}
    exec(examples(DOCS)[-1], names)
    names["test_a_post_is_regenerated"]()  # type: ignore[operator]


def test_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = examples((ROOT / "bindings" / "python" / "README.md").read_text())
    names: dict[str, object] = {"__name__": "example"}
    exec(program, names)
    assert capsys.readouterr().out.startswith("hit b'<h1>Hello</h1>' [('cache-control', ")
    cache = names["cache"]
    assert isinstance(cache, libisr.Cache)
    cache.close()


@pytest.mark.parametrize(
    "names",
    [
        _libisr.OPTIONS,
        list(libisr.RouteOptions.__annotations__),
        [kind for kind, _, _ in _libisr.ERRORS],
        [error.__name__ for error in _errors.BY_KIND.values()],
    ],
    ids=["options of a cache", "options of a page", "kinds", "exceptions"],
)
def test_tables_are_complete(names: list[str]) -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith("| ")]
    missing = [name for name in names if not any(f"`{name}`" in row for row in rows)]
    assert not missing
