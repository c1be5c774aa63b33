"""Results of renders that have a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._libisr import Result

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import EllipsisType

    from ._types import Seconds


def not_found(
    body: str | bytes = b"",
    *,
    revalidate: Seconds | EllipsisType = ...,
    expire: Seconds | EllipsisType = ...,
    tags: Iterable[str] | None = None,
) -> Result:
    """A page with status 404: stored like any other, and replaces a good one."""
    return Result(body, 404, revalidate=revalidate, expire=expire, tags=tags)


def redirect(
    to: str,
    status: int = 307,
    *,
    revalidate: Seconds | EllipsisType = ...,
    expire: Seconds | EllipsisType = ...,
    tags: Iterable[str] | None = None,
) -> Result:
    """A redirect to `to`: 307 is temporary, 308 is permanent."""
    return Result(b"", status, {"location": to}, revalidate=revalidate, expire=expire, tags=tags)
