"""Runs the steps of one scenario against a cache."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import libisr

from .expect import Fault, Seen, compare, of_answer, of_data, of_error, of_peek, of_regenerated, of_report, replace
from .format import Scenario, Step
from .frames import takes_no_place
from .site import Site, key_text, page, read_options

LIMIT = 20.0
"""Seconds of real time that a step may wait."""
POLL = 0.0002

T = TypeVar("T")


class Slot:
    """The place of an outcome that comes later."""

    def __init__(self) -> None:
        self.outcome: Seen | None = None
        self.answered = threading.Event()
        self.entered = threading.Event()
        """The cache knows of the request, or its load runs."""

    def put(self, seen: Seen) -> None:
        self.outcome = seen
        self.answered.set()


class World:
    """One scenario: its cache, its clock, and what runs in the background."""

    def __init__(self, scenario: Scenario, use_async: bool, directory: str | None) -> None:
        self._scenario = scenario
        self._async = use_async
        self._clock = libisr.ManualClock(1_700_000_000)
        self._site = Site(scenario)
        self._options = {"backoff_jitter": 0, "max_queue": 1000, "threads": 8, "default_timeout": None}
        self._options |= {name: value for name, value in scenario.cache.items() if name != "persist"}
        if directory is not None:
            self._options["directory"] = directory
        self._trouble: list[str] = []
        """What was told of the directory. No scenario makes trouble."""
        self._captures: dict[str, str] = {}
        self._started: dict[str, Slot] = {}
        self._begun: dict[str, int] = {}
        """The epochs of `begin`."""
        self._routes: list[dict[str, Any]] = []
        self._app = _App() if use_async else None
        try:
            self._open()
            for route in scenario.routes:
                self._add_route(route)
        except (libisr.IsrError, TypeError) as error:
            raise Fault([f"cache: {error}"]) from None

    def _open(self) -> None:
        trouble = self._trouble
        self._cache = libisr.Cache(
            clock=self._clock,
            on_trouble=lambda error: trouble.append(f"trouble: {error}"),
            **self._options,  # type: ignore[arg-type]
        )
        self._site.cache = self._cache

    def _add_route(self, route: dict[str, Any]) -> None:
        options = {name: value for name, value in route.items() if name != "pattern" and value is not None}
        callback: Callable[[libisr.Job], Any] = self._site.arender if self._async else self._site.render
        self._cache.page(route["pattern"], **options)(callback)
        self._routes.append(route)

    def close(self, quietly: bool = False) -> None:
        """Ends everything that still runs; what is held is let go."""
        self._site.frames.end()
        ended = self._cache.close(5)
        if self._app is not None:
            self._app.stop()
        if not ended and not quietly:
            raise Fault([f"at its end the cache did not close; in progress: {self._running()}"])
        if self._trouble and not quietly:
            raise Fault(self._trouble)

    def run(self, step: Step) -> None:
        """Runs one step; a `Fault` where something is not as it should be."""
        if step.main in ("get", "regenerate", "data_get"):
            if step.start is not None:
                return self._start(step.start, step)
            return self._check(step, self._call(step))
        return getattr(self, f"_step_{step.main}")(step)  # type: ignore[no-any-return]

    def _check(self, step: Step, seen: Seen) -> None:
        lines = compare(step.expect, seen, self._captures)
        if lines:
            raise Fault(lines)

    # Calls that may wait

    def _call(self, step: Step) -> Seen:
        asked = self._asked(step)
        if self._app is not None:
            seen: Seen = self._app.wait(self._acall(step, asked), lambda: self._too_long(step.main))
            return seen
        return self._aside(step.main, lambda: self._scall(step, asked))

    def _asked(self, step: Step) -> dict[str, Any]:
        """A request's headers, and the arguments of the call."""
        fields = step.fields
        headers = {name.lower(): replace(v, self._captures) for name, v in fields.get("headers", {}).items()}
        names = ("variant", "draft", "prefetch", "only_generated")
        return {"headers": headers, "options": {name: fields[name] for name in names if name in fields}}

    def _scall(self, step: Step, asked: dict[str, Any]) -> Seen:
        takes_no_place.set(True)
        cache, what, options = self._cache, step.fields[step.main], asked["options"]
        try:
            if step.main == "get":
                return of_answer(cache.get(what, **options), step.fields.get("method", "GET"), asked["headers"])
            if step.main == "regenerate":
                return of_regenerated(cache.regenerate(what, **options))
            return of_data(cache.data_answer(what, self._site.load(what, []), **read_options(step.fields), raw=True))
        except (libisr.IsrError, TypeError) as error:
            return of_error(error)

    async def _acall(self, step: Step, asked: dict[str, Any], load: Callable[[], Any] | None = None) -> Seen:
        takes_no_place.set(True)
        cache, what, options = self._cache, step.fields[step.main], asked["options"]
        try:
            if step.main == "get":
                answer = await cache.aget(what, **options)
                return of_answer(answer, step.fields.get("method", "GET"), asked["headers"])
            if step.main == "regenerate":
                return of_regenerated(await cache.aregenerate(what, **options))
            load = load or self._site.aload(what, [])
            return of_data(await cache.adata_answer(what, load, **read_options(step.fields), raw=True))
        except (libisr.IsrError, TypeError) as error:
            return of_error(error)

    def _aside(self, what: str, call: Callable[[], T]) -> T:
        """A blocking call on a thread of its own, so that a dead-lock is seen."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return _within_limit(future, lambda: self._too_long(what))

    # Calls in the background

    def _start(self, name: str, step: Step) -> None:
        if name in self._started:
            raise Fault([f'"{name}" was started before and not joined'])
        slot = self._started[name] = Slot()
        asked = self._asked(step)
        if self._app is not None:
            self._app.spawn(self._acall(step, asked), slot)
        else:
            # The call does not block, but a load that runs in it may.
            load = None
            if step.main == "data_get":
                load = self._site.load(step.fields["data_get"], [], slot.entered.set)
            background = _background(self._acall(step, asked, load), slot)
            threading.Thread(target=asyncio.run, args=(background,), daemon=True).start()

        def ready() -> bool:
            # Where nothing is held the answer is on its way.
            return slot.answered.is_set() or (slot.entered.is_set() and bool(self._quiet()))

        self._poll(f"start {name}", ready)

    def _slot(self, name: str) -> Slot:
        if name not in self._started:
            raise Fault([f'"{name}" is not started'])
        return self._started[name]

    def _step_join(self, step: Step) -> None:
        name = step.fields["join"]
        slot = self._slot(name)
        if not slot.answered.wait(LIMIT):
            raise self._too_long(f"join {name}")
        del self._started[name]
        assert slot.outcome is not None
        self._check(step, slot.outcome)

    def _step_pending(self, step: Step) -> None:
        slot = self._slot(step.fields["pending"])
        if slot.outcome is not None:
            raise Fault([f"it was answered: {slot.outcome}"])

    # Holds, time, counts

    def _step_advance(self, step: Step) -> None:
        self._clock.advance(step.fields["advance"])

    def _step_shift_wall(self, step: Step) -> None:
        self._clock.set_wall(self._clock.now() + step.fields["shift_wall"])

    def _step_settle(self, step: Step) -> None:
        self._poll("settle", lambda: self._quiet() is not None)

    def _step_hold(self, step: Step) -> None:
        self._site.frames.hold("render", step.fields["hold"])

    def _step_release(self, step: Step) -> None:
        self._site.frames.release("render", step.fields["release"])

    def _step_hold_data(self, step: Step) -> None:
        self._site.frames.hold("load", key_text(step.fields["hold_data"]))

    def _step_release_data(self, step: Step) -> None:
        self._site.frames.release("load", key_text(step.fields["release_data"]))

    def _step_counts(self, step: Step) -> None:
        self._counts("render", step.fields["counts"])

    def _step_data_counts(self, step: Step) -> None:
        self._counts("load", step.fields["data_counts"])

    def _counts(self, gate: Any, counts: dict[str, int]) -> None:
        got = {key: self._site.count(gate, key) for key in counts}
        lines = [f"{key}: expected {n}, got {got[key]}" for key, n in counts.items() if got[key] != n]
        if lines:
            raise Fault(lines)

    # Calls that do not wait

    def _tell(self, step: Step, call: Callable[[], Seen | None]) -> None:
        try:
            seen = call() or {}
        except (libisr.IsrError, TypeError) as error:
            seen = of_error(error)
        self._check(step, seen)

    def _step_revalidate_path(self, step: Step) -> None:
        path, kind = step.fields["revalidate_path"], step.fields.get("type")
        self._tell(step, lambda: {"matched": self._cache.revalidate_path(path, kind)})

    def _step_revalidate_tag(self, step: Step) -> None:
        options = {name: step.fields[name] for name in ("soft", "expire") if name in step.fields}

        def call() -> None:
            self._cache.revalidate_tag(step.fields["revalidate_tag"], **options)

        self._tell(step, call)

    def _step_remove(self, step: Step) -> None:
        def call() -> None:
            self._cache.remove(step.fields["remove"])

        self._tell(step, call)

    def _step_inspect(self, step: Step) -> None:
        path, variant = step.fields["inspect"], step.fields.get("variant")
        self._tell(step, lambda: of_peek(self._cache.peek(path, variant=variant)))

    def _step_add_route(self, step: Step) -> None:
        def call() -> None:
            self._add_route(step.fields["add_route"])

        self._tell(step, call)

    def _step_prerender(self, step: Step) -> None:
        if self._app is not None:
            report = self._app.wait(self._cache.aprerender(), lambda: self._too_long("prerender"))
        else:
            report = self._aside("prerender", self._cache.prerender)
        self._check(step, of_report(report))

    def _step_begin(self, step: Step) -> None:
        self._begun[step.fields["begin"]] = self._cache.started()

    def _step_put(self, step: Step) -> None:
        begun = step.fields["begun"]
        if begun not in self._begun:
            raise Fault([f'"{begun}" was not begun'])
        result = page(step.fields["page"], {}, {})
        path, variant = step.fields["put"], step.fields.get("variant")
        self._tell(step, lambda: {"stored": self._cache.put(path, result, self._begun[begun], variant=variant)})

    def _step_reopen(self, step: Step) -> None:
        if not self._cache.close(LIMIT):
            raise self._too_long("reopen")
        if "deployment" in step.fields:
            self._options["deployment"] = step.fields["deployment"]
        routes, self._routes = self._routes, []
        self._open()
        for route in routes:
            self._add_route(route)

    # Waiting

    def _quiet(self) -> int | None:
        """How many callbacks are held, if nothing else goes on: sampled twice, so that nothing happened in between."""
        first = (self._cache.activity(), self._site.frames.sample())
        if not first[1].is_quiet(first[0], int(self._options["threads"] or 0)):
            return None
        time.sleep(POLL)
        second = (self._cache.activity(), self._site.frames.sample())
        return first[1].held if first == second else None

    def _poll(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not ready():
            if time.monotonic() > deadline:
                raise self._too_long(what)
            time.sleep(POLL)

    def _too_long(self, what: str) -> Fault:
        return Fault([f"{what} took longer than {LIMIT:.0f} s; in progress: {self._running()}"])

    def _running(self) -> str:
        pending = [name for name, slot in self._started.items() if slot.outcome is None]
        return f"{self._site.frames.describe()}; not answered: {pending}; {self._cache.activity()}"


def _within_limit(future: concurrent.futures.Future[T], too_long: Callable[[], Fault]) -> T:
    done, _ = concurrent.futures.wait([future], LIMIT)
    if not done:
        raise too_long()
    return future.result()


async def _background(call: Awaitable[Seen], slot: Slot) -> None:
    """Runs a call; when this has begun to wait, the cache knows of it."""
    task = asyncio.ensure_future(call)
    asyncio.get_running_loop().call_soon(slot.entered.set)
    slot.put(await task)


class _App:
    """The event loop of an application, on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, call: Any, too_long: Callable[[], Fault]) -> Any:
        return _within_limit(asyncio.run_coroutine_threadsafe(call, self._loop), too_long)

    def spawn(self, call: Awaitable[Seen], slot: Slot) -> None:
        def start() -> None:
            task = self._loop.create_task(_background(call, slot))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(start)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        if not self._thread.is_alive():
            self._loop.close()
