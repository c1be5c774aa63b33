"""Who is told of trouble with a cache's directory."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable

from ._errors import StoreError
from ._render import is_async

logger = logging.getLogger("libisr")


class TroubleListener:
    """Tells a function, or the log where there is none."""

    def __init__(self, on_trouble: Callable[[StoreError], object] | None) -> None:
        if on_trouble is not None and not callable(on_trouble):
            raise TypeError(f"on_trouble must be a function; got {on_trouble!r} ({type(on_trouble).__name__})")
        if on_trouble is not None and is_async(on_trouble):
            raise TypeError(f"on_trouble must be a plain function, not async; got {on_trouble!r}")
        self._on_trouble = on_trouble

    def tell(self, error: StoreError) -> None:
        """Passes it on; what the function raises is logged."""
        if self._on_trouble is None:
            logger.warning("%s", error)
            return
        try:
            self._on_trouble(error)
        except Exception:
            logger.exception("on_trouble raised")


def tell(listener: weakref.ref[TroubleListener], error: StoreError) -> None:
    """The core holds no strong reference to what the user's function refers to: no cycle past the GC."""
    target = listener()
    if target is not None:
        target.tell(error)
