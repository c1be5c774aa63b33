"""Results of renders that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import InvalidArgument
from ._libisr import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import EllipsisType

    from ._types import Seconds

REDIRECTS = (301, 302, 303, 307, 308)


def not_found(
    body: str | bytes = b"",
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    revalidate: Seconds | EllipsisType = ...,
    expire: Seconds | EllipsisType = ...,
    tags: Iterable[str] | None = None,
) -> Result:
    """A page with status 404: stored like any other, and replaces a good one."""
    return Result(body, 404, headers, revalidate=revalidate, expire=expire, tags=tags)


def redirect(
    to: str,
    status: int = 307,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    revalidate: Seconds | EllipsisType = ...,
    expire: Seconds | EllipsisType = ...,
    tags: Iterable[str] | None = None,
) -> Result:
    """A redirect to `to`: 307 is temporary, 308 is permanent; 301, 302 and 303 are the older ones.

    What is not allowed in a URI (spaces, letters beyond ASCII) is percent-encoded when the page is made; `%XX` and
    reserved characters stay.
    """
    if not isinstance(to, str):
        raise TypeError(f"to must be a str; got {to!r} ({type(to).__name__})")
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"status must be an int; got {status!r} ({type(status).__name__})")
    if status not in REDIRECTS:
        raise InvalidArgument(f"the status of a redirect must be 301, 302, 303, 307 or 308; got {status}")
    # By way of a result: it checks them.
    own = Result(headers=headers).headers
    if any(name.lower() == "location" for name, _ in own):
        raise InvalidArgument("headers of a redirect must not have a location: that is `to`")
    return Result(b"", status, [("location", to), *own], revalidate=revalidate, expire=expire, tags=tags)
