#!/usr/bin/env python3
"""A page of 10 KB for every path, by ASGI on uvicorn: `server.py limit|libisr`. Prints its port."""

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


async def limit(scope, receive, send):
    await send(START)
    await send(END)


def with_libisr():
    cache = libisr.Cache()
    cache.page("/blog/[id]")(lambda job: libisr.Result(BODY, headers=HEADERS))
    return libisr.asgi.ISR(cache)


def main():
    app = {"limit": lambda: limit, "libisr": with_libisr}[sys.argv[1]]()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
