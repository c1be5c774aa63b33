"""The exceptions: one class for each kind of the core's table."""

from __future__ import annotations

from typing import ClassVar

from . import _libisr

_TABLE = {kind: (code, http_status) for kind, code, http_status in _libisr.ERRORS}

BY_KIND: dict[str, type[IsrError]] = {}
"""The class of each kind; the native half looks here."""


class IsrError(Exception):
    """Base of all exceptions of this library."""

    kind: ClassVar[str]
    """The stable name, the same in every language."""
    code: ClassVar[int]
    """The stable number."""
    http_status: ClassVar[int]
    """The HTTP status that fits an answer to a client."""

    def __init_subclass__(cls, *, kind: str | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            cls.kind = kind
            cls.code, cls.http_status = _TABLE[kind]
            BY_KIND[kind] = cls


class InvalidPath(IsrError, ValueError, kind="invalid_path"):
    """The path cannot be a key."""


class NoRoute(IsrError, LookupError, kind="no_route"):
    """No page's pattern matches the path."""


class RenderError(IsrError, kind="render"):
    """The callback failed, gave a status of 500 or above, or an invalid page.

    `__cause__` is the exception that the callback raised, if it raised one.
    """


class RenderTimeout(IsrError, TimeoutError, kind="timeout"):
    """The callback took longer than the page's `timeout`."""


class Busy(IsrError, kind="busy"):
    """`max_queue` renders wait for a thread already."""


class InvalidTag(IsrError, ValueError, kind="invalid_tag"):
    """A tag is empty, longer than 256 bytes, has a control byte, or is one too many."""


class InvalidArgument(IsrError, ValueError, kind="invalid_argument"):
    """An argument is wrong; the message names the value and the rule."""


class Conflict(IsrError, kind="conflict"):
    """A page with another pattern matches the same paths, or an option is not as others gave it who share the cache."""


class Closed(IsrError, kind="closed"):
    """The cache is closed."""


class Finished(IsrError, kind="finished"):
    """The job was finished before: by an earlier call, or by its timeout."""


class StoreError(IsrError, kind="store"):
    """The directory cannot be used; memory goes on alone. Told to `on_trouble`, raised by no call."""


class InternalError(IsrError, kind="internal"):
    """A fault inside the library; please report it."""
