"""Who listens to the progress of a prerender."""

from __future__ import annotations

from collections.abc import Callable

from ._render import is_async
from ._types import PrerenderProgress


class Listener:
    """Tells a function of each path that has ended, and keeps the first exception that it raises."""

    def __init__(self, progress: Callable[[PrerenderProgress], object] | None) -> None:
        if progress is not None and not callable(progress):
            raise TypeError(f"progress must be a function; got {progress!r} ({type(progress).__name__})")
        if progress is not None and is_async(progress):
            raise TypeError(f"progress must be a plain function, not async; got {progress!r}")
        self._progress = progress
        self._error: BaseException | None = None

    def tell(self, done: int, failed: int, skipped: int, total: int, path: str) -> None:
        """Passes a step on."""
        if self._progress is None:
            return
        try:
            self._progress(PrerenderProgress(done, failed, skipped, total, path))
        except BaseException as error:
            self._error = self._error or error

    def check(self) -> None:
        """Raises what the function raised first."""
        error, self._error = self._error, None
        if error is not None:
            raise error
