#!/usr/bin/env python3
"""The example site, served by a plain ASGI application on uvicorn, its pages kept by libisr.

    python3 server.py --port 8000 --db build/site.sqlite --templates examples/site/templates --directory build/cache

What the site shows is in pages.py. Here is how libisr keeps it: routes with their lifetimes and tags, one `aget` for
all pages, and `revalidate_tag` after an edit.
"""

import argparse
import asyncio
import contextlib
import hmac
import json
import os
import secrets
import signal
import socket
import sqlite3
import sys
import time
from urllib.parse import parse_qs, quote

import libisr
import uvicorn
from pages import Pages

HTML = {"content-type": "text/html; charset=utf-8"}
MAX_FORM_BYTES = 64 * 1024


class Site:
    """The routes of the site."""

    def __init__(self, pages, directory=None, deployment="", render_log=None):
        """`directory`: where the pages are kept, shared with all who open it; none: in the memory of this process."""
        self.pages = pages
        kept = {"directory": directory} if directory else {}
        self.cache = libisr.Cache(deployment=deployment, **kept)
        self.render_log = os.open(render_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if render_log else None
        self.not_found = pages.message("Not found", "There is no page at this address.")
        self.origin_renders = 0  # the demo compares it with what the cache says
        self.failing = False
        self.slow_seconds = 0.0

        posts = [{"id": number} for number in pages.post_ids()]
        abouts = [{"page": name} for name in pages.about_pages()]

        def counts():
            self.count("counts")
            return pages.counts()

        @self.page("/", revalidate=60)
        def home(job):
            # A data entry: counted once for all pages that show it, and gone with its tag.
            return pages.home(job.data("counts", counts, tags=["posts"], revalidate=60))

        @self.page("/word/[lemma]", revalidate=3600)
        def word(job):
            return pages.word(job.params["lemma"])

        @self.page("/synset/[id]", revalidate=3600)
        def synset(job):
            return pages.synset(job.params["id"])

        @self.page("/blog", revalidate=60)
        def blog(job):
            return pages.blog()

        # The posts that are known now are rendered before anybody asks, later ones when somebody does.
        @self.page("/blog/[id]", revalidate=300, static_params=posts)
        def post(job):
            return pages.post(job.params["id"])

        # Closed: whatever is not listed is answered with 404, and never rendered.
        @self.page("/about/[page]", dynamic_params=False, static_params=abouts)
        def about(job):
            return pages.about(job.params["page"])

        # A redirect is a page, too.
        @self.page("/blog/latest", revalidate=60, tags=["posts"])
        def latest(job):
            return libisr.redirect(pages.latest())

        @self.page("/moment", revalidate=2)
        def moment(job):
            return pages.moment(time.time())

    def page(self, pattern, **options):
        """`cache.page` for functions that give a Page, a Result, or None where there is nothing to show."""

        def add(make):
            @self.cache.page(pattern, **options)
            def render(job):  # on a thread of the cache: SQLite may take its time
                self.origin_renders += 1
                self.count(job.path)
                time.sleep(self.slow_seconds)
                if self.failing:
                    raise RuntimeError("renders fail, as /admin/fail?on=1 asked")
                page = make(job)
                if isinstance(page, libisr.Result):
                    return page
                if page is None:
                    return libisr.Result(self.not_found, 404, HTML, revalidate=60)
                return libisr.Result(page.html, headers=HTML, tags=page.tags)

            return make

        return add

    def count(self, what):
        if self.render_log is not None:
            os.write(self.render_log, f"{what}\n".encode())


class App:
    """The ASGI application."""

    def __init__(self, site, token):
        self.site = site
        self.token = token

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        path = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if path.startswith("/admin/"):
            response = await self.admin(scope["method"], path, query, headers, receive)
        elif scope["method"] not in ("GET", "HEAD"):
            response = self.message(405, "Not allowed", "Pages can be read only.")
        elif path == "/stats":
            now = self.site.cache.activity()
            stats = {"origin_renders": self.site.origin_renders, "pending": now.queued + now.running}
            stats["cache"] = self.site.cache.stats()
            response = 200, [("content-type", "application/json")], json.dumps(stats).encode()
        elif path == "/search":
            word = parse_qs(query).get("q", [""])[0].strip().lower().replace(" ", "_")
            response = 303, [("location", "/word/" + quote(word, safe="!'()*") if word else "/")], b""
        else:
            response = await self.cached(scope["method"], f"{path}?{query}" if query else path, headers)
        await answer(send, scope["method"], *response)

    async def cached(self, method, target, headers):
        """Every page of the site. The loop goes on while a render is waited for."""
        try:
            found = await self.site.cache.aget(target)
        except libisr.NoRoute:
            return self.message(404, "Not found", "There is no page at this address.")
        except libisr.IsrError as error:
            if isinstance(error, libisr.RenderError):
                print(f"{target}: {error}", file=sys.stderr, flush=True)
            return self.message(error.http_status, "That did not work", "Please try again in a moment.")
        head = found.head(method, headers.get("if-none-match"), headers.get("accept-encoding"))
        fields = list(head.headers)
        if found.cache == "bypass" and head.status == 404:  # a closed route has no body of its own
            return 404, fields + list(HTML.items()), self.site.not_found.encode()
        if head.status != 304:
            fields.append(("content-length", str(head.content_length)))
        return head.status, fields, head.body

    async def admin(self, method, path, query, headers, receive):
        """Edits, and the switches of the demo. Never cached."""
        kind, _, ident = path.removeprefix("/admin/").partition("/")
        if method in ("GET", "HEAD"):
            form = await asyncio.to_thread(self.site.pages.edit_form, kind, ident) if kind in EDITABLE else None
            if form is None:
                return self.message(404, "Not found", "There is nothing to edit here.")
            return 200, private(HTML), form.encode()
        if method != "POST":
            return self.message(405, "Not allowed", "Send a form.")
        form = await read_form(receive)
        if form is None:
            return self.message(413, "Too large", f"A form may have {MAX_FORM_BYTES} bytes.")
        if not self.is_admin(headers, form):
            return self.message(403, "Refused", "This needs the admin token, sent from this site.")
        if path == "/admin/fail":
            self.site.failing = query == "on=1"
            return 204, [], b""
        if path == "/admin/slow":
            self.site.slow_seconds = int(parse_qs(query).get("ms", ["0"])[0]) / 1000
            return 204, [], b""
        text = form.get("text", "").replace("\r\n", "\n").strip()
        if kind not in EDITABLE or not await asyncio.to_thread(self.site.pages.save, kind, ident, text):
            return self.message(404, "Not found", "There is nothing to edit here.")
        # Whatever shows this post or synset is rendered anew for the next who asks.
        self.site.cache.revalidate_tag(f"{kind}:{ident}")
        return 303, private({"location": EDITABLE[kind] + ident}), b""

    def is_admin(self, headers, form):
        """The token says who; a browser's Origin says that the form is ours and not another site's."""
        origin = headers.get("origin")
        ours = origin is None or origin == f"http://{headers.get('host')}"
        return ours and hmac.compare_digest(form.get("token", "").encode(), self.token.encode())

    def message(self, status, title, text):
        return status, private(HTML), self.site.pages.message(title, text).encode()

    async def live(self, receive, send):
        """The life of the application: renders the static pages first, closes the cache at the end."""
        await receive()
        prerender = asyncio.create_task(self.prerender())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        prerender.cancel()
        await self.site.cache.aclose(2)
        await send({"type": "lifespan.shutdown.complete"})

    async def prerender(self):
        report = await self.site.cache.aprerender()
        for path, error in report.failed:
            print(f"{path}: {error}", file=sys.stderr)
        print(f"prerendered {report.rendered} pages", flush=True)


EDITABLE = {"post": "/blog/", "synset": "/synset/"}


def private(headers):
    return [*headers.items(), ("cache-control", "private, no-store")]


async def read_form(receive):
    """The fields of a form, or None if it is too large."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_FORM_BYTES:
            return None
    fields = parse_qs(body.decode("latin-1"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


async def answer(send, method, status, headers, body):
    """Sends an answer. The body of a cached page is the cache's own memory."""
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if status not in (204, 304) and not any(name == b"content-length" for name, _ in fields):
        fields.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else bytes(body)})


def listen(port):
    """A listening socket. It names its protocol, without which asyncio would not switch Nagle's algorithm off."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    return listener


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--db", required=True, help="the database that import_wordnet.py wrote")
    parser.add_argument("--templates", required=True, help="the folder with the templates; the queries are beside it")
    parser.add_argument("--directory", help="where the pages are kept, shared by all who open it; default: in memory")
    parser.add_argument("--deployment", default="", help="the build: another one's pages are not served")
    parser.add_argument("--render-log", metavar="FILE", help="gets a line for each render and load: path or key")
    return parser.parse_args()


def main():
    args = arguments()
    token = os.environ.get("SITE_ADMIN_TOKEN") or secrets.token_urlsafe(16)

    try:
        pages = Pages(args.db, args.templates)
        app = App(Site(pages, args.directory, args.deployment, args.render_log), token)
        listener = listen(args.port)
    except (OSError, OverflowError, sqlite3.Error) as error:
        sys.exit(f"server.py: {error} (--db {args.db} --templates {args.templates} --port {args.port})")
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    print(f"admin token: {token}", flush=True)
    # uvicorn ends in good order on these signals, and raises them again afterwards.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=3))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
