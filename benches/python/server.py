#!/usr/bin/env python3
"""A page of 10 KB for every path, by ASGI on uvicorn: `server.py limit|as-many-headers|libisr`. Prints its port."""

import socket
import sys

import libisr
import libisr.asgi
import uvicorn

BODY = b"x" * 10_000
HEADERS = {"content-type": "text/html; charset=utf-8"}
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(BODY)).encode())],
}
END = {"type": "http.response.body", "body": BODY}


# What a stored page is sent with, all of it constant: uvicorn takes its time for each header.
SAME_HEADERS = [
    *START["headers"],
    (b"cache-control", b"s-maxage=31536000"),
    (b"etag", b'"0bbccd47483750b1cb763e2ccd065fab"'),
    (b"age", b"10"),
    (b"cache-status", b"libisr; hit"),
    (b"x-isr-cache", b"HIT"),
]


async def limit(scope, receive, send):
    await send(START)
    await send(END)


async def as_many_headers(scope, receive, send):
    await send({**START, "headers": SAME_HEADERS})
    await send(END)


def with_libisr():
    cache = libisr.Cache()
    cache.page("/blog/[id]")(lambda job: libisr.Result(BODY, headers=HEADERS))
    return libisr.asgi.ISR(cache)


def main():
    app = {"limit": lambda: limit, "as-many-headers": lambda: as_many_headers, "libisr": with_libisr}[sys.argv[1]]()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
