"""CPU time of a server for one request of a stored page of 10 KB: user and system time of its processes, from /proc.

wrk asks over four connections that stay open, on another core. The servers take turns; the first round warms up.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30
NGINX_CONF = """
daemon off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {dir}/a; fastcgi_temp_path {dir}/b; uwsgi_temp_path {dir}/c; scgi_temp_path {dir}/d;
  proxy_temp_path {dir}/e; proxy_cache_path {dir}/cache keys_zone=pages:10m;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_cache pages; proxy_cache_valid 200 1h; }}
  }}
}}
"""


class Server:
    """One server while it runs."""

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def cpu_seconds(self):
        """User and system time of the process and all below it."""
        return sum(cpu_seconds(pid) for pid in family(self.process.pid))

    def stop(self):
        for pid in reversed(family(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 15)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def family(pid):
    """The process and all below it, parents first."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pid):
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def pinned(core, command):
    """On one core where there are two: the server does not share it with wrk."""
    return ["taskset", "-c", str(core), *command] if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else command


def start(command, port=None, **how):
    """Starts a server and waits until it answers. Without a `port` it prints its own."""
    process = subprocess.Popen(pinned(0, command), stdout=subprocess.PIPE, text=True, **how)
    server = Server(process, port or int(process.stdout.readline() or 0))
    try:
        for _ in range(START_SECONDS * 10):
            with contextlib.suppress(OSError), urllib.request.urlopen(url(server.port), timeout=5) as answer:
                if len(answer.read()) >= 10_000:
                    return server
            if process.poll() is not None:
                break
            time.sleep(0.1)
    except BaseException:
        server.stop()
        raise
    server.stop()
    raise SystemExit(f"{' '.join(command)} does not serve /blog/1")


def url(port):
    return f"http://127.0.0.1:{port}/blog/1"


def load(server):
    """Microseconds of CPU for a request."""
    before = server.cpu_seconds()
    command = ["wrk", "-t1", "-c4", "-d1", "-s", str(BENCHES / "paths.lua"), url(server.port)]
    done = subprocess.run(pinned(1, command), capture_output=True, text=True, check=True)
    used = server.cpu_seconds() - before
    requests = re.search(r"(\d+) requests in", done.stdout)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout or not requests:
        raise SystemExit(f"wrk:\n{done.stdout}{done.stderr}")
    return used / int(requests[1]) * 1e6


def start_all(stack, skip):
    """Every server that is there, by its name."""
    own = {
        "libmicrohttpd, libisr": ("C", [str(ROOT / "build/bench/server"), "libisr"]),
        "limit: libmicrohttpd, static buffer": ("C", [str(ROOT / "build/bench/server"), "limit"]),
        "node:http, libisr": ("Node", ["node", str(BENCHES / "node/server.mjs"), "libisr"]),
        "limit: node:http, Map of Buffers": ("Node", ["node", str(BENCHES / "node/server.mjs"), "limit"]),
        "node:http, lru-cache": ("Node", ["node", str(BENCHES / "node/server.mjs"), "lru-cache"]),
        "ASGI on uvicorn, libisr": ("Python", [sys.executable, str(BENCHES / "python/server.py"), "libisr"]),
        "limit: ASGI on uvicorn, constant": ("Python", [sys.executable, str(BENCHES / "python/server.py"), "limit"]),
    }
    servers = {}

    def add(name, language, *command, **how):
        server = start(*command, **how)
        stack.callback(server.stop)
        servers[name] = (language, server)

    for name, (language, command) in own.items():
        add(name, language, command)
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if nginx:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o755)  # nginx's worker may be another user
        port, origin = free_port(), servers["limit: libmicrohttpd, static buffer"][1].port
        conf = Path(folder, "conf")
        conf.write_text(NGINX_CONF.format(dir=folder, port=port, origin=origin))
        add("nginx, proxy_cache", "C", [nginx, "-c", str(conf), "-p", folder, "-e", f"{folder}/error.log"], port=port)
    else:
        skip("nginx, proxy_cache", "nginx is not installed")
    folder = BENCHES / "next"
    if (folder / "node_modules").is_dir():
        environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1"}
        program = ["node", "node_modules/next/dist/bin/next"]
        if not (folder / ".next/BUILD_ID").exists():
            subprocess.run([*program, "build"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        port = free_port()
        command = [*program, "start", "-H", "127.0.0.1", "-p", str(port)]
        add("Next.js, pages", "Node", command, port=port, cwd=folder, env=environment)
    else:
        skip("Next.js, pages", "not installed: npm install --prefix benches/next")
    return servers


def run(quick):
    """Rows as the other parts print them."""
    rows = []
    if not shutil.which("wrk"):
        return [{"part": "http", "case": "CPU time a request", "skipped": "wrk is not installed"}]
    rounds = 1 if quick else 9

    def skip(name, why):
        rows.append({"part": "http", "case": name, "skipped": why})

    with contextlib.ExitStack() as stack:
        servers = start_all(stack, skip)
        for number in range(rounds + 1):
            for name, (language, server) in servers.items():
                cost = load(server)
                if number:
                    case = f"{language}: CPU time a request"
                    rows.append({"part": "http", "case": case, "name": name, "x": 0, "unit": "us", "value": cost})
    return rows
