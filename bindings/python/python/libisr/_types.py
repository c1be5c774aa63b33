"""The values that calls take and give."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

from ._errors import IsrError
from ._libisr import Page

Seconds: TypeAlias = float | timedelta | Literal[False] | None
"""Seconds (int or float), a timedelta, or None or False for never."""

CacheWord: TypeAlias = Literal["hit", "stale", "miss", "revalidated", "stale-error", "bypass"]
"""How an answer came about."""

State: TypeAlias = Literal["missing", "fresh", "stale", "expired"]
"""The state of what is stored."""

Reason: TypeAlias = Literal["miss", "stale", "expired", "regenerate", "prerender"]
"""Why a page is rendered."""

Key: TypeAlias = str | Iterable[str]
"""The key of a data entry; a text stands for a list of one."""


class CacheOptions(TypedDict, total=False):
    """Options of a cache; what is left out has its default."""

    deployment: str
    """Separates builds: another deployment's pages are never served. Default empty."""
    max_bytes: int
    """Bytes of memory for pages and data entries. Default 256 MiB."""
    max_entry_bytes: int
    """Largest body that is stored. Default 16 MiB."""
    stale_if_error: Seconds
    """For how long after its expiry a page is served in place of an error. Default no limit; 0 switches it off."""
    backoff_jitter: float
    """Up to this part of a back-off is added at random, 0 to 1. Default 0.1."""
    max_queue: int
    """How many renders may wait for a thread; the last quarter is for those that somebody waits for. Default 1000."""
    threads: int
    """Renders at a time. Default 8."""
    max_regenerations: int | None
    """Regenerations in the background at a time; `None`: no limit but `threads`. Default: three quarters of them."""
    max_regenerations_per_tag: int | None
    """Of these, those of pages with the same tag. Default `None`: no limit."""
    early_refresh: float
    """How eagerly pages are regenerated before they are stale, 0 (not at all) to 100; 1 is usual. Default 0."""
    default_revalidate: Seconds
    """`revalidate` of pages that give none. Default never."""
    default_expire: Seconds
    """`expire` of pages that give none. Default one year."""
    default_timeout: Seconds
    """`timeout` of pages that give none. Default 60 s."""
    max_variants: int
    """Variants of one path that are stored. Default 64."""
    max_invalidations: int
    """Invalidations that are remembered one by one; beyond, the oldest are merged. Default 100,000."""
    storable_statuses: list[int] | tuple[int, ...]
    """Statuses that may be stored. Default 200, 203, 301, 302, 303, 307, 308, 404, 410."""
    draft_secret: str
    """Signs draft tokens; at least 16 bytes. Default: random, the same for all who share a directory."""
    precompress: list[str] | tuple[str, ...]
    """Encodings in which pages are kept beside the plain one: "br", "gzip", "zstd". Default none."""
    directory: str | os.PathLike[str]
    """Where pages, data entries and invalidations are kept over restarts, and shared with the machine's other processes
    that open the same directory. Made if it is not there. Default none: memory alone."""
    max_disk_bytes: int
    """Bytes of the directory's disk for pages and data entries; whole blocks of 4 KiB count. Default 16 GiB."""
    durable: bool
    """Whether stored pages and invalidations are on the disk (fsync) before a call returns, so that not even a power
    loss undoes them. Default False: they survive the death of any process, not that of the machine."""
    name: str
    """Names the cache in its process: all that open this name there share one cache, with its memory, renders and
    counters, and must give the same options. Default none: a cache of one's own."""


class RouteOptions(TypedDict, total=False):
    """Options of a page; what is left out has its default."""

    revalidate: Seconds
    """Seconds until a page is stale. Default: the cache's `default_revalidate`."""
    expire: Seconds
    """Seconds until a page is expired. Default: the cache's `default_expire`."""
    dynamic_params: bool
    """Whether paths that `static_params` does not list are rendered (otherwise: 404). Default True."""
    static_params: Iterable[Mapping[str, str | Iterable[str]]]
    """The params of the paths to prerender."""
    tags: Iterable[str]
    """Tags of every page of this route."""
    timeout: Seconds
    """Seconds a render may take. Default: the cache's `default_timeout`."""
    max_concurrent: int | None
    """Renders of this route at a time, whatever they are for. Default `None`: no limit but the cache's `threads`."""
    early_refresh: float
    """How eagerly it is regenerated before it is stale, 0 to 100. Default: the cache's `early_refresh`."""
    query: Iterable[str]
    """Names of query values that become part of the variant."""
    vary: Mapping[str, str]
    """Variant name to the request header that it comes from; the header is named in `vary`."""


class Head(NamedTuple):
    """Status, headers and body to send."""

    status: int
    """That of the page, or 304."""
    headers: list[tuple[str, str]]
    """All headers but `content-length` and `date`; names in lower case."""
    body: memoryview
    """Empty for HEAD and 304. Without a copy; keeps the page alive."""
    content_length: int
    """For `content-length`: that of the body, also for HEAD."""


class Peek(NamedTuple):
    """What is stored under a path."""

    state: State
    page: Page | None
    """None where missing."""
    age: int
    """Whole seconds since it was generated; 0 where missing."""


class Activity(NamedTuple):
    """What runs and waits at one moment.

    Quiet: `running == waiting`, and `queued == 0` unless all threads are taken.
    """

    queued: int
    """Renders and background loads that wait for a thread."""
    running: int
    """Renders and loads begun and not ended."""
    waiting: int
    """Of these, those that wait for another one."""
    version: int
    """Grows with each change of the others: two equal values mean that nothing happened in between."""


class DataAnswer(NamedTuple):
    """A data entry's value and how it came about."""

    value: Any
    cache: CacheWord


class PrerenderProgress(NamedTuple):
    """How far a prerender has come."""

    done: int
    """Paths rendered."""
    failed: int
    """Paths that failed for good."""
    skipped: int
    """Paths that were stored and fresh."""
    total: int
    """All paths."""
    path: str
    """The path that has just ended."""


class PrerenderReport(NamedTuple):
    """What a prerender did."""

    rendered: int
    """Paths rendered."""
    skipped: int
    """Paths that were stored and fresh."""
    failed: list[tuple[str, IsrError]]
    """Paths that failed after all attempts, with their last error."""
