"""A scenario file as data. A key or a type that the format does not know is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Check: TypeAlias = Callable[[Any], bool]


class Malformed(Exception):
    """Not a scenario."""


@dataclass
class Step:
    """One step: its main key, what stands beside it, and what it must show."""

    text: str
    main: str
    fields: dict[str, Any]
    start: str | None
    expect: dict[str, Any]


@dataclass
class Scenario:
    """One scenario, checked in every key."""

    cache: dict[str, Any]
    routes: list[dict[str, Any]]
    renders: dict[str, list[dict[str, Any]]]
    data: dict[str, list[dict[str, Any]]]
    steps: list[Step]


def text(value: Any) -> bool:
    return isinstance(value, str)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not flag(value)


def whole(value: Any) -> bool:
    return isinstance(value, int) and not flag(value) and value >= 0


def true(value: Any) -> bool:
    return value is True


def anything(value: Any) -> bool:
    return True


def list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(v) for v in value)


def object_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(check(v) for v in value.values())


def either(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


texts = list_of(text)
key = either(text, texts)
option = either(text, number, lambda value: value is None or value is False)

SCENARIO: dict[str, Check] = {
    "name": text,
    "spec": anything,
    "cache": object_of(anything),
    "routes": list_of(object_of(anything)),
    "renders": object_of(list_of(object_of(anything))),
    "data": object_of(list_of(object_of(anything))),
    "steps": list_of(object_of(anything)),
}
CACHE: dict[str, Check] = {
    "deployment": text,
    "max_entry_bytes": option,
    "max_bytes": option,
    "stale_if_error": option,
    "backoff_jitter": option,
    "max_queue": option,
    "threads": option,
    "max_regenerations": option,
    "max_regenerations_per_tag": option,
    "early_refresh": option,
    "persist": flag,
    "default_revalidate": option,
    "default_expire": option,
}
# Lifetimes of a wrong type are errors where they are given, not of the file.
ROUTE: dict[str, Check] = {
    "pattern": text,
    "revalidate": anything,
    "expire": anything,
    "dynamic_params": flag,
    "static_params": list_of(object_of(key)),
    "tags": texts,
    "timeout": anything,
    "max_concurrent": anything,
    "early_refresh": anything,
    "query": texts,
    "vary": object_of(text),
}
ELEMENT: dict[str, Check] = {
    "body": text,
    "body_base64": text,
    "status": whole,
    "headers": object_of(text),
    "revalidate": anything,
    "expire": anything,
    "tags": texts,
    "no_store": flag,
    "remove": flag,
    "not_found": flag,
    "redirect": object_of(anything),
    "reads": list_of(object_of(anything)),
    "error": text,
    "panic": flag,
}
REDIRECT: dict[str, Check] = {"to": text, "status": whole}
READ: dict[str, Check] = {
    "data": key,
    "tags": texts,
    "revalidate": anything,
    "reads": list_of(object_of(anything)),
    "or": text,
}
LOAD: dict[str, Check] = {"value": text, "error": text}

EXPECT: dict[str, Check] = {
    "cache": text,
    "status": whole,
    "body": text,
    "body_base64": text,
    "headers": object_of(either(text, lambda value: value is None)),
    "error": text,
    "message": text,
    "rendered": either(whole, flag),
    "matched": flag,
    "stored": flag,
    "value": text,
    "skipped": whole,
    "failed": whole,
    "failed_paths": texts,
    "state": text,
    "tags": texts,
    "revalidate": either(number, lambda value: value is False),
    "expire": either(number, lambda value: value is False),
    "age": whole,
}

ERROR = ("error", "message")
PAGE = ("cache", "status", "body", "body_base64", "headers", *ERROR)
# Main key: its type, what stands beside it, and what `expect` may name.
STEPS: dict[str, tuple[Check, dict[str, Check], tuple[str, ...]]] = {
    "get": (
        text,
        {
            "variant": object_of(text),
            "headers": object_of(text),
            "draft": flag,
            "prefetch": flag,
            "method": lambda value: value in ("GET", "HEAD"),
        },
        PAGE,
    ),
    "regenerate": (text, {"only_generated": flag}, (*PAGE, "rendered")),
    "data_get": (key, {"tags": texts, "revalidate": anything}, ("value", "cache", *ERROR)),
    "join": (text, {}, ()),
    "pending": (text, {}, ()),
    "advance": (number, {}, ()),
    "shift_wall": (number, {}, ()),
    "settle": (true, {}, ()),
    "hold": (text, {}, ()),
    "release": (text, {}, ()),
    "hold_data": (key, {}, ()),
    "release_data": (key, {}, ()),
    "counts": (object_of(whole), {}, ()),
    "data_counts": (object_of(whole), {}, ()),
    "revalidate_path": (key, {"type": lambda value: value in ("page", "layout")}, ("matched", *ERROR)),
    "revalidate_tag": (key, {"soft": flag, "expire": anything}, ERROR),
    "remove": (key, {}, ERROR),
    "prerender": (true, {}, ("rendered", "skipped", "failed", "failed_paths")),
    "begin": (text, {}, ()),
    "put": (text, {"page": object_of(anything), "begun": text, "variant": object_of(text)}, ("stored", *ERROR)),
    "reopen": (true, {"deployment": text}, ()),
    "inspect": (
        text,
        {"variant": object_of(text)},
        ("state", "tags", "revalidate", "expire", "body", "status", "age"),
    ),
    "add_route": (object_of(anything), {}, ERROR),
}
STARTABLE = ("get", "regenerate", "data_get")


def parse(raw: Any) -> Scenario:
    """A scenario from JSON."""
    if not isinstance(raw, dict):
        raise Malformed("a scenario is an object")
    check("scenario", raw, SCENARIO, ("name", "steps"))
    cache = raw.get("cache", {})
    check("cache", cache, CACHE)
    routes = [_route(route) for route in raw.get("routes", [])]
    renders = raw.get("renders", {})
    for name, elements in renders.items():
        if not elements:
            raise Malformed(f"renders.{name}: needs an element")
        for element in elements:
            _element(f"renders.{name}", element)
    data = raw.get("data", {})
    for name, elements in data.items():
        if not elements:
            raise Malformed(f"data.{name}: needs an element")
        for element in elements:
            check(f"data.{name}", element, LOAD)
            if len(element) != 1:
                raise Malformed(f"data.{name}: either a value or an error")
    started: dict[str, tuple[str, ...]] = {}
    steps = [_step(i, step, started) for i, step in enumerate(raw["steps"])]
    return Scenario(cache, routes, renders, data, steps)


def check(what: str, value: dict[str, Any], known: dict[str, Check], needed: tuple[str, ...] = ()) -> None:
    """Refuses what the format does not know, and what is missing."""
    for name, part in value.items():
        if name not in known:
            raise Malformed(f'{what}: unknown key "{name}"')
        if not known[name](part):
            raise Malformed(f"{what}: {name} has a value of a wrong type: {json.dumps(part)}")
    for name in needed:
        if name not in value:
            raise Malformed(f"{what}: {name} is missing")


def _route(route: dict[str, Any]) -> dict[str, Any]:
    check("route", route, ROUTE, ("pattern",))
    return route


def _element(what: str, element: dict[str, Any]) -> None:
    check(what, element, ELEMENT)
    if element.get("panic") and "error" not in element:
        raise Malformed(f"{what}: panic stands beside an error")
    if "body" in element and "body_base64" in element:
        raise Malformed(f"{what}: either body or body_base64")
    if "redirect" in element:
        check(f"{what}: redirect", element["redirect"], REDIRECT, ("to",))
    _reads(what, element.get("reads", []))


def _reads(what: str, reads: list[dict[str, Any]]) -> None:
    for read in reads:
        check(f"{what}: reads", read, READ, ("data",))
        _reads(what, read.get("reads", []))


def _step(i: int, raw: dict[str, Any], started: dict[str, tuple[str, ...]]) -> Step:
    shown = json.dumps(raw, ensure_ascii=False)
    what = f"step {i + 1} {shown}"
    mains = [name for name in raw if name in STEPS]
    if len(mains) != 1:
        raise Malformed(f"{what}: needs one key that says what to do; has {mains}")
    main = mains[0]
    main_type, beside, may = STEPS[main]
    known = {main: main_type, **beside}
    if main in STARTABLE:
        known["start"] = text
    start = raw.get("start")
    if main == "join":
        if raw[main] not in started:
            raise Malformed(f"{what}: nothing was started under that name")
        may = started[raw[main]]
    if may and start is None:
        known["expect"] = object_of(anything)
    check(what, raw, known)
    if start is not None:
        started[start] = may
    if main == "put":
        for name in ("page", "begun"):
            if name not in raw:
                raise Malformed(f"{what}: {name} is missing")
        _element(f"{what}: page", raw["page"])
        if raw["page"].keys() & {"reads", "error", "panic"}:
            raise Malformed(f"{what}: page: reads, error and panic are for callbacks")
    if main == "add_route":
        _route(raw[main])
    expect = raw.get("expect", {})
    check(f"{what}: expect", expect, {name: EXPECT[name] for name in may})
    fields = {name: value for name, value in raw.items() if name not in ("start", "expect")}
    return Step(shown, main, fields, start, expect)
