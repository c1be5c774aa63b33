"""Pages of `def` functions: answers, lifetimes, invalidation, what a job shows."""

from __future__ import annotations

import threading
from datetime import timedelta

import libisr
import pytest
from conftest import settle


def test_miss_then_hit(cache: libisr.Cache) -> None:
    begun = []

    @cache.page("/blog/[id]", revalidate=60, tags=["blog"])
    def post(job: libisr.Job) -> str:
        begun.append(job.params["id"])
        return f"post é {job.params['id']}"

    first = cache.get("/blog/1?x=1")
    again = cache.get("/blog/1")
    assert (first.cache, again.cache) == ("miss", "hit")
    assert bytes(again.body) == "post é 1".encode()
    assert (again.status, again.age) == (200, 0)
    assert begun == ["1"]
    assert again.page.path == "/blog/1"
    assert again.page.tags == ["blog"]
    assert again.page.revalidate == 60
    assert again.page.expire == 365 * 86400
    assert again.page.generated == 1_700_000_000
    assert again.page.etag.startswith('"')
    assert "/blog/1" in cache
    assert "/blog/2" not in cache
    assert "no path" not in cache
    assert "/no/route" not in cache


def test_the_decorated_function_stays_what_it_is(cache: libisr.Cache) -> None:
    def post(job: libisr.Job) -> str:
        return "x"

    assert cache.page("/")(post) is post


def test_stale_is_served_and_regenerated(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    bodies = iter(["v1", "v2"])
    cache.page("/", revalidate=timedelta(minutes=1))(lambda job: next(bodies))
    assert cache.get("/").cache == "miss"
    clock.advance(timedelta(seconds=60))
    assert cache.get("/").cache == "hit"
    clock.advance(0.001)
    stale = cache.get("/")
    assert (stale.cache, bytes(stale.body), stale.age) == ("stale", b"v1", 60)
    settle(cache)
    assert (cache.get("/").cache, bytes(cache.get("/").body)) == ("hit", b"v2")


@pytest.mark.parametrize("never", [None, False])
def test_never(cache: libisr.Cache, clock: libisr.ManualClock, never: None) -> None:
    cache.page("/", revalidate=never, expire=never)(lambda job: "x")
    page = cache.get("/").page
    assert page.revalidate is None
    assert page.expire is None
    clock.advance(1e9)
    assert cache.get("/").cache == "hit"


def test_what_a_job_shows(cache: libisr.Cache) -> None:
    jobs: list[libisr.Job] = []

    @cache.page("/[top]/[...rest]", query=["tag"], revalidate=60)
    def page(job: libisr.Job) -> bytes:
        jobs.append(job)
        assert not job.cancelled
        return b"body"

    cache.get("/d/x/y%2Fz?tag=b&tag=a&other=1", variant={"lang": "en"})
    job = jobs.pop()
    assert job.path == "/d/x/y%2Fz"
    assert job.pattern == "/[top]/[...rest]"
    assert job.params == {"top": "d", "rest": ["x", "y/z"]}
    assert job.variant == {"lang": "en", "tag": ["b", "a"]}
    assert (job.reason, job.previous, job.draft) == ("miss", None, False)
    assert job.cancelled, "nobody waits for a render that is over"

    cache.regenerate("/d/x/y%2Fz?tag=b&tag=a", variant={"lang": "en"})
    job = jobs.pop()
    assert job.reason == "regenerate"
    assert job.previous is not None
    assert bytes(job.previous) == b"body"

    assert cache.get("/d/x", draft=True).cache == "bypass"
    assert jobs.pop().draft


def test_results(cache: libisr.Cache) -> None:
    results: dict[str, str | bytes | bytearray | memoryview | libisr.Result] = {
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"ba"),
        "view": memoryview(b"mv"),
        "result": libisr.Result("r", 203, {"Content-Type": "text/x"}, revalidate=5, expire=None, tags=["t"]),
        "pairs": libisr.Result("p", headers=[("x-a", "1"), ("x-a", "2")]),
        "missing": libisr.not_found("gone", revalidate=7),
        "moved": libisr.redirect("/new", 308),
        "live": libisr.Result("live", no_store=True),
    }
    cache.page("/[kind]", revalidate=60)(lambda job: results[job.params["kind"]])
    assert bytes(cache.get("/bytes").body) == b"\x00\xff"
    assert bytes(cache.get("/bytearray").body) == b"ba"
    assert bytes(cache.get("/view").body) == b"mv"
    page = cache.get("/result").page
    assert (page.status, page.revalidate, page.expire, page.tags) == (203, 5, None, ["t"])
    assert page.headers == [("content-type", "text/x")]
    assert cache.get("/pairs").headers == [("x-a", "1"), ("x-a", "2")]
    missing = cache.get("/missing")
    assert (missing.status, missing.page.revalidate, bytes(missing.body)) == (404, 7, b"gone")
    moved = cache.get("/moved")
    assert (moved.status, moved.headers) == (308, [("location", "/new")])
    assert cache.get("/live").cache == "bypass"
    assert cache.get("/live").cache == "bypass"


def test_head(cache: libisr.Cache) -> None:
    cache.page("/", revalidate=60)(lambda job: "body")
    answer = cache.get("/")
    status, headers, body, content_length = answer.head()
    assert (status, bytes(body), content_length) == (200, b"body", 4)
    assert ("x-isr-cache", "MISS") in headers
    assert ("cache-control", "s-maxage=60, stale-while-revalidate=31535940") in headers
    etag = dict(headers)["etag"]
    head = answer.head("HEAD")
    assert (head.status, bytes(head.body), head.content_length) == (200, b"", 4)
    unchanged = answer.head(if_none_match=etag)
    assert (unchanged.status, bytes(unchanged.body)) == (304, b"")


def test_precompressed_bodies(clock: libisr.ManualClock) -> None:
    with libisr.Cache(clock=clock, precompress=["gzip"]) as cache:
        cache.page("/")(lambda job: "text " * 1000)
        head = cache.get("/").head(accept_encoding="gzip")
        assert ("content-encoding", "gzip") in head.headers
        import gzip

        assert gzip.decompress(head.body) == b"text " * 1000
        assert head.content_length == len(head.body) < 1000


def test_invalidation(cache: libisr.Cache) -> None:
    cache.page("/blog/[id]", tags=["blog"])(lambda job: "x")
    for path in ("/blog/1", "/blog/2"):
        cache.get(path)
    assert cache.revalidate_path("/blog/1") is True
    assert cache.revalidate_path("/none") is False
    assert cache.peek("/blog/1").state == "expired"
    assert cache.peek("/blog/2").state == "fresh"
    assert cache.revalidate_path(["/blog/[id]"], "page") is True
    assert cache.peek("/blog/2").state == "expired"
    assert cache.get("/blog/1").cache == "revalidated"
    cache.revalidate_tag(["blog", "other"], soft=True, expire=timedelta(seconds=1))
    assert cache.peek("/blog/1").state == "stale"
    cache.revalidate_tag("blog")
    assert cache.peek("/blog/1").state == "expired"
    cache.remove("/blog/1")
    assert cache.peek("/blog/1") == ("missing", None, 0)
    assert cache.revalidate_path("/", "layout") is True


def test_looking_without_rendering(cache: libisr.Cache) -> None:
    cache.page("/", revalidate=60)(lambda job: "x")
    assert cache.try_get("/") is None
    assert cache.peek("/").state == "missing"
    assert cache.stats()["renders"] == 0
    cache.get("/")
    answer = cache.try_get("/")
    assert answer is not None
    assert answer.cache == "hit"
    assert cache.regenerate("/", only_generated=True) is not None
    cache.remove(["/"])
    assert cache.regenerate("/", only_generated=True) is None


def test_pages_rendered_elsewhere(cache: libisr.Cache) -> None:
    cache.page("/", revalidate=60)(lambda job: "own")
    started = cache.started()
    assert cache.put("/", "theirs", started) is True
    assert bytes(cache.get("/").body) == b"theirs"
    started = cache.started()
    cache.regenerate("/")
    assert cache.put("/", libisr.Result("late"), started) is False
    assert bytes(cache.get("/").body) == b"own"
    started = cache.started()
    cache.revalidate_path("/")
    assert cache.put("/", "old", started) is True
    assert cache.peek("/").state == "expired"


def test_redirect_and_not_found(cache: libisr.Cache) -> None:
    to = "/b/ä b?q=%20&x=[1]#é"
    cache.page("/old")(lambda job: libisr.redirect(to, 308, headers={"x-a": "1"}, tags=["t"]))
    cache.page("/gone")(lambda job: libisr.not_found("gone", headers=[("content-type", "text/plain")]))
    page = cache.get("/old").page
    assert (page.status, page.tags) == (308, ["t"])
    assert dict(page.headers) == {"location": "/b/%C3%A4%20b?q=%20&x=[1]#%C3%A9", "x-a": "1"}
    page = cache.get("/gone").page
    assert (page.status, bytes(page.body), page.headers) == (404, b"gone", [("content-type", "text/plain")])
    assert [libisr.redirect("/", status).status for status in (301, 302, 303, 307, 308)] == [301, 302, 303, 307, 308]


def test_prerender(cache: libisr.Cache) -> None:
    @cache.page("/blog/[id]", static_params=[{"id": "1"}, {"id": "bad"}, {"id": "2"}])
    def post(job: libisr.Job) -> str:
        if job.params["id"] == "bad":
            raise ValueError("bad one")
        return job.reason

    cache.page("/docs/[...rest]", static_params=({"rest": ["a", "b"]},))(lambda job: "doc")
    cache.get("/blog/2")
    seen: list[libisr.PrerenderProgress] = []
    report = cache.prerender(seen.append)
    assert (report.rendered, report.skipped) == (2, 1)
    [(path, error)] = report.failed
    assert path == "/blog/bad"
    assert isinstance(error, libisr.RenderError)
    assert isinstance(error.__cause__, ValueError)
    assert {p.path for p in seen} == {"/blog/1", "/blog/2", "/blog/bad", "/docs/a/b"}
    assert seen[-1][:4] == (2, 1, 1, 4)
    assert bytes(cache.get("/blog/1").body) == b"prerender"


def test_drafts(cache: libisr.Cache, clock: libisr.ManualClock) -> None:
    token = cache.draft_token(timedelta(hours=1))
    assert cache.verify_draft(token)
    assert not cache.verify_draft(token + "x")
    assert not cache.verify_draft("")
    clock.advance(3601)
    assert not cache.verify_draft(token)


def test_deferred_renders(cache: libisr.Cache) -> None:
    jobs: list[libisr.Job] = []

    @cache.page("/[id]", deferred=True, revalidate=60)
    def later(job: libisr.Job) -> None:
        jobs.append(job)
        target = job.complete if job.path == "/good" else job.fail
        threading.Thread(target=target, args=("by another thread",)).start()

    assert bytes(cache.get("/good").body) == b"by another thread"
    with pytest.raises(libisr.RenderError, match="by another thread"):
        cache.get("/bad")
    with pytest.raises(libisr.Finished):
        jobs[0].complete("twice")
    with pytest.raises(libisr.Finished):
        jobs[1].fail("twice")


def test_a_dropped_deferred_job_is_a_failure(cache: libisr.Cache) -> None:
    cache.page("/", deferred=True)(lambda job: None)
    with pytest.raises(libisr.RenderError, match="without a result"):
        cache.get("/")


def test_renders_leave_no_context_behind(clock: libisr.ManualClock) -> None:
    import contextvars

    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    with libisr.Cache(clock=clock, threads=1) as cache:

        @cache.page("/[id]")
        def page(job: libisr.Job) -> str:
            before = user.get()
            user.set(job.params["id"])
            return before

        user.set("asker")
        assert bytes(cache.get("/1").body) == b"nobody"
        assert bytes(cache.get("/2").body) == b"nobody"


def test_callbacks_may_ask_the_cache(cache: libisr.Cache) -> None:
    cache.page("/part")(lambda job: "part")
    cache.page("/whole")(lambda job: b"<" + bytes(cache.get("/part").body) + b">")

    @cache.page("/self")
    def own(job: libisr.Job) -> str:
        with pytest.raises(libisr.InvalidArgument, match="wait for itself"):
            cache.get("/self")
        return "survived"

    assert bytes(cache.get("/whole").body) == b"<part>"
    assert bytes(cache.get("/self").body) == b"survived"


def test_a_thread_that_carries_the_context_is_inside_the_render(cache: libisr.Cache) -> None:
    import contextvars
    from concurrent.futures import ThreadPoolExecutor

    @cache.page("/")
    def page(job: libisr.Job) -> str:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(context.run, cache.get, "/").exception()
        assert isinstance(error, libisr.InvalidArgument)
        return "ok"

    assert bytes(cache.get("/").body) == b"ok"


def test_closing(clock: libisr.ManualClock) -> None:
    cache = libisr.Cache(clock=clock)
    cache.page("/")(lambda job: "x")
    answer = cache.get("/")
    assert repr(cache).startswith("<libisr.Cache entries=1 ")
    assert not cache.closed
    assert cache.close() is True
    assert cache.closed
    assert cache.close(timedelta(0)) is True
    assert repr(cache) == "<libisr.Cache closed>"
    assert bytes(answer.body) == b"x"
    for call in (lambda: cache.get("/"), lambda: cache.page("/b")(lambda job: "x"), lambda: cache.peek("/")):
        with pytest.raises(libisr.Closed):
            call()


def test_stats_and_activity(cache: libisr.Cache) -> None:
    cache.page("/")(lambda job: "x")
    cache.get("/")
    cache.get("/")
    settle(cache)
    stats = cache.stats()
    assert (stats["misses"], stats["hits"], stats["renders"], stats["entries_stored"]) == (1, 1, 1, 1)
    activity = cache.activity()
    assert activity[:3] == (0, 0, 0)
    assert activity.version > 0


def test_the_clock() -> None:
    clock = libisr.ManualClock(100)
    clock.advance(1.5)
    clock.advance(timedelta(seconds=1))
    assert clock.now() == 102.5
    clock.set_wall(50)
    assert clock.now() == 50
    assert repr(clock) == "ManualClock(50)"
