"""What a step must show, and what it showed."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, TypeAlias

import libisr

Seen: TypeAlias = dict[str, Any]
"""What a step showed, under the names that `expect` has."""

NAME = re.compile(r"\$([A-Za-z0-9_]+)")


class Fault(Exception):
    """What is wrong, line by line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def compare(expected: dict[str, Any], seen: Seen, captures: dict[str, str]) -> list[str]:
    """The differences; none where all is as it should be."""
    lines = []
    if "error" in seen and "error" not in expected:
        lines.append(f"error that was not expected: {show(seen['error'])}, {show(seen['message'])}")
    for name, wanted in expected.items():
        got = seen.get(name)
        if name == "headers":
            lines += _headers(wanted, got or {}, captures)
        elif not _fits(name, wanted, got):
            lines.append(f"{name}: expected {show(wanted)}, got {show(got)}")
    return lines


def _fits(name: str, wanted: Any, got: Any) -> bool:
    if name == "message":
        return isinstance(got, str) and wanted in got
    if name in ("tags", "failed_paths"):
        return isinstance(got, list) and sorted(wanted) == sorted(got)
    # In Python True is 1 and False is 0.
    return isinstance(wanted, bool) == isinstance(got, bool) and bool(wanted == got)


def _headers(wanted: dict[str, str | None], got: dict[str, str], captures: dict[str, str]) -> list[str]:
    lines = []
    for name, value in wanted.items():
        name = name.lower()
        actual = got.get(name)
        if value is None:
            if actual is not None:
                lines.append(f"header {name}: expected it to be absent, got {show(actual)}")
            continue
        capture = NAME.fullmatch(value)
        if capture and capture[1] not in captures:
            if actual is None:
                lines.append(f"header {name}: expected any value, got null")
            else:
                captures[capture[1]] = actual
            continue
        value = captures[capture[1]] if capture else value
        same = actual is not None and (_names(value) == _names(actual) if name == "vary" else value == actual)
        if not same:
            lines.append(f"header {name}: expected {show(value)}, got {show(actual)}")
    return lines


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


def replace(value: str, captures: dict[str, str]) -> str:
    """A request header with its `$NAME`s replaced."""

    def stored(found: re.Match[str]) -> str:
        if found[1] not in captures:
            raise Fault([f"nothing is stored as ${found[1]}"])
        return captures[found[1]]

    return NAME.sub(stored, value)


def of_error(error: Exception) -> Seen:
    """An error; a value of a wrong type is Python's own."""
    kind = error.kind if isinstance(error, libisr.IsrError) else "invalid_argument"
    return {"error": kind, "message": str(error)}


def of_answer(answer: libisr.Answer, method: str = "GET", headers: dict[str, str] | None = None) -> Seen:
    asked = headers or {}
    head = answer.head(method, asked.get("if-none-match"), asked.get("accept-encoding"))
    joined: dict[str, str] = {}
    for name, value in head.headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    body = bytes(head.body)
    return {
        "cache": answer.cache,
        "status": head.status,
        "body": body.decode("utf-8", "replace"),
        "body_base64": base64.b64encode(body).decode(),
        "headers": joined,
    }


def of_regenerated(answer: libisr.Answer | None) -> Seen:
    return {"rendered": False} if answer is None else {"rendered": True, **of_answer(answer)}


def of_data(answer: libisr.DataAnswer) -> Seen:
    return {"value": answer.value.decode("utf-8", "replace"), "cache": answer.cache}


def of_peek(peek: libisr.Peek) -> Seen:
    if peek.page is None:
        return {"state": peek.state}
    page = peek.page
    return {
        "state": peek.state,
        "tags": page.tags,
        "revalidate": False if page.revalidate is None else page.revalidate,
        "expire": False if page.expire is None else page.expire,
        "body": bytes(page.body).decode("utf-8", "replace"),
        "status": page.status,
        "age": peek.age,
    }


def of_report(report: libisr.PrerenderReport) -> Seen:
    return {
        "rendered": report.rendered,
        "skipped": report.skipped,
        "failed": len(report.failed),
        "failed_paths": [path for path, _ in report.failed],
    }


def show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
