"""Incremental static regeneration for every server.

Start with `Cache`; `docs/python.md` in the repository shows every call.
"""

from ._cache import Cache
from ._errors import (
    Busy,
    Closed,
    Conflict,
    Finished,
    InternalError,
    InvalidArgument,
    InvalidPath,
    InvalidTag,
    IsrError,
    NoRoute,
    RenderError,
    RenderTimeout,
    StoreError,
)
from ._libisr import Answer, ManualClock, Page, Result, __version__
from ._render import Job
from ._result import not_found, redirect
from ._types import (
    Activity,
    CacheOptions,
    CacheWord,
    DataAnswer,
    Head,
    Peek,
    PrerenderProgress,
    PrerenderReport,
    Reason,
    RouteOptions,
    Seconds,
    State,
)

__all__ = [
    "Activity",
    "Answer",
    "Busy",
    "Cache",
    "CacheOptions",
    "CacheWord",
    "Closed",
    "Conflict",
    "DataAnswer",
    "Finished",
    "Head",
    "InternalError",
    "InvalidArgument",
    "InvalidPath",
    "InvalidTag",
    "IsrError",
    "Job",
    "ManualClock",
    "NoRoute",
    "Page",
    "Peek",
    "PrerenderProgress",
    "PrerenderReport",
    "Reason",
    "RenderError",
    "RenderTimeout",
    "Result",
    "RouteOptions",
    "Seconds",
    "State",
    "StoreError",
    "__version__",
    "not_found",
    "redirect",
]
