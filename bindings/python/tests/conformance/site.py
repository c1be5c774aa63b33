"""The site that a scenario describes: its renders and loads, counted and held, as `def` and as `async def`."""

from __future__ import annotations

import base64
import collections
import json
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import libisr

from .format import Scenario
from .frames import Frames, Gate


class Failed(Exception):
    """What a callback of a scenario fails with."""


class Site:
    """Shared by all callbacks of one scenario; outlives a `reopen`."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._lock = threading.Lock()
        self._begun: collections.Counter[tuple[Gate, str]] = collections.Counter()
        self.frames = Frames()
        self.cache: libisr.Cache | None = None

    def count(self, gate: Gate, key: str) -> int:
        return self._begun[gate, key]

    def _begin(self, gate: Gate, key: str, elements: list[dict[str, Any]] | None) -> dict[str, Any] | None:
        """The element of this callback: the n-th, or the last."""
        with self._lock:
            n = self._begun[gate, key]
            self._begun[gate, key] += 1
        return elements[min(n, len(elements) - 1)] if elements else None

    def _begin_render(self, job: libisr.Job, key: str) -> dict[str, Any]:
        return self._begin("render", key, self._scenario.renders.get(key)) or {"body": job.path}

    def render(self, job: libisr.Job) -> libisr.Result:
        key = render_key(job)
        with self.frames.enter("render", key, lambda: job.cancelled) as frame:
            element = self._begin_render(job, key)
            values: dict[str, str] = {}
            try:
                for read in element.get("reads", ()):
                    with frame.asking(), handled(read, values):
                        values[key_text(read["data"])] = job.data(
                            read["data"], self.load(read["data"], read.get("reads", [])), **read_options(read), raw=True
                        ).decode()
            finally:
                frame.hold()
            return page(element, values, job.params)

    async def arender(self, job: libisr.Job) -> libisr.Result:
        key = render_key(job)
        with self.frames.enter("render", key, lambda: job.cancelled) as frame:
            element = self._begin_render(job, key)
            values: dict[str, str] = {}
            try:
                for read in element.get("reads", ()):
                    with frame.asking(), handled(read, values):
                        load = self.aload(read["data"], read.get("reads", []))
                        value = await job.adata(read["data"], load, **read_options(read), raw=True)
                        values[key_text(read["data"])] = value.decode()
            finally:
                await frame.ahold()
            return page(element, values, job.params)

    def load(
        self, parts: str | list[str], reads: list[dict[str, Any]], begun: Callable[[], object] = lambda: None
    ) -> Callable[[], bytes]:
        key = key_text(parts)

        def load() -> bytes:
            begun()
            with self.frames.enter("load", key, lambda: False) as frame:
                element = self._begin("load", key, self._scenario.data.get(key)) or {"value": key}
                assert self.cache is not None
                try:
                    for read in reads:
                        with frame.asking(), handled(read, {}):
                            nested = self.load(read["data"], read.get("reads", []))
                            self.cache.data(read["data"], nested, **read_options(read), raw=True)
                finally:
                    frame.hold()
                return value(element)

        return load

    def aload(self, parts: str | list[str], reads: list[dict[str, Any]]) -> Callable[[], Awaitable[bytes]]:
        key = key_text(parts)

        async def load() -> bytes:
            with self.frames.enter("load", key, lambda: False) as frame:
                element = self._begin("load", key, self._scenario.data.get(key)) or {"value": key}
                assert self.cache is not None
                try:
                    for read in reads:
                        with frame.asking(), handled(read, {}):
                            nested = self.aload(read["data"], read.get("reads", []))
                            await self.cache.adata(read["data"], nested, **read_options(read), raw=True)
                finally:
                    await frame.ahold()
                return value(element)

        return load


class handled:
    """Goes on with `or` where a read fails."""

    def __init__(self, read: dict[str, Any], values: dict[str, str]) -> None:
        self._read = read
        self._values = values

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, libisr.IsrError) and "or" in self._read:
            self._values[key_text(self._read["data"])] = self._read["or"]
            return True
        return False


def read_options(read: dict[str, Any]) -> dict[str, Any]:
    """The options that a read gives."""
    return {name: read[name] for name in ("tags", "revalidate") if read.get(name) is not None}


def value(element: dict[str, Any]) -> bytes:
    """What a load gives, or how it fails."""
    if "error" in element:
        raise Failed(element["error"])
    text: str = element["value"]
    return text.encode()


def page(element: dict[str, Any], values: dict[str, str], params: dict[str, Any]) -> libisr.Result:
    """What a render gives, or how it fails."""
    if "error" in element:
        # Worse than an Exception: nothing that a server catches.
        raise KeyboardInterrupt(element["error"]) if element.get("panic") else Failed(element["error"])
    body: str | bytes = b""
    if "body" in element:
        body = fill(element["body"], values, params)
    elif "body_base64" in element:
        body = base64.b64decode(element["body_base64"], validate=True)
    status, headers = 200, dict(element.get("headers", {}))
    if "redirect" in element:
        status = element["redirect"].get("status", 307)
        headers["location"] = element["redirect"]["to"]
    elif element.get("not_found"):
        status = 404
    lifetimes = {name: element[name] for name in ("revalidate", "expire") if element.get(name) is not None}
    return libisr.Result(
        body,
        element.get("status", status),
        headers,
        tags=element.get("tags", ()),
        no_store=element.get("no_store", False),
        remove=element.get("remove", False),
        **lifetimes,
    )


def fill(text: str, values: dict[str, str], params: dict[str, Any]) -> str:
    """Replaces `{data:KEY}` and `{param:NAME}` in one pass; what is not known stays."""
    known = {f"{{data:{key}}}": value for key, value in values.items()}
    for name, param in params.items():
        known[f"{{param:{name}}}"] = param if isinstance(param, str) else ",".join(param)
    if not known:
        return text
    return re.sub("|".join(map(re.escape, known)), lambda found: known[found[0]], text)


def key_text(parts: str | list[str]) -> str:
    """A data entry's key as it stands in `data`, counts, holds and `{data:KEY}`."""
    if isinstance(parts, str):
        return parts
    return parts[0] if len(parts) == 1 else compact(parts)


def render_key(job: libisr.Job) -> str:
    """The path, and the variant as compact JSON with sorted keys if there is one."""
    return f"{job.path} {compact(job.variant)}" if job.variant else job.path


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
