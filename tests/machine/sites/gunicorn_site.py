"""The example site in `gunicorn --preload`: the cache is opened and used in the master, and forked into four workers.

Takes the arguments of the example servers, and prints what they print.
"""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs

import libisr.wsgi
from gunicorn.app.base import BaseApplication

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "python"))

from pages import Pages  # noqa: E402
from server import Site  # noqa: E402

WORKERS = 4


class Admin:
    """What is not a page: edits, and what the tests ask for beside them."""

    def __init__(self, site):
        self.site = site

    def __call__(self, environ, start_response):
        status, body = self.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ)
        start_response(status, [("content-length", str(len(body)))])
        return [body]

    def answer(self, method, path, environ):
        if path == "/worker":
            return "200 OK", str(os.getpid()).encode()
        if method != "POST":
            return "404 Not Found", b""
        form = parse_qs(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode())
        if form["token"] != [os.environ["SITE_ADMIN_TOKEN"]]:
            return "403 Forbidden", b""
        if path == "/admin/remove":
            self.site.cache.remove(form["page"][0])
            return "204 No Content", b""
        if path == "/admin/slow":
            self.site.slow_seconds = int(parse_qs(environ["QUERY_STRING"])["ms"][0]) / 1000
            return "204 No Content", b""
        _, _, kind, ident = path.split("/")
        if not self.site.pages.save(kind, ident, form["text"][0]):
            return "404 Not Found", b""
        self.site.cache.revalidate_tag(f"{kind}:{ident}")
        return "303 See Other", b""


class Server(BaseApplication):
    def __init__(self, args):
        self.args = args
        super().__init__()

    def load_config(self):
        chosen = {
            "bind": f"127.0.0.1:{self.args.port}",
            "workers": WORKERS,
            "worker_class": "gthread",
            "threads": 16,
            "preload_app": True,
            "graceful_timeout": 5,
            "loglevel": "error",
            "when_ready": self.when_ready,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self):
        """In the master, before it forks: `preload_app`."""
        site = Site(Pages(self.args.db, self.args.templates), self.args.directory, "", self.args.render_log)
        self.prerendered = site.cache.prerender().rendered
        return libisr.wsgi.ISR(site.cache, fallback=Admin(site))

    def when_ready(self, arbiter):
        port = arbiter.LISTENERS[0].sock.getsockname()[1]
        print(f"listening on http://127.0.0.1:{port}\nprerendered {self.prerendered} pages", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=0)
    for name in ("db", "templates", "directory", "render-log"):
        parser.add_argument(f"--{name}", required=True)
    Server(parser.parse_args()).run()


if __name__ == "__main__":
    main()
