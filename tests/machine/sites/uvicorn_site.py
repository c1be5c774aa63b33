"""The example site behind uvicorn's workers: new processes, each with its own loop and cache, on one directory.

Takes the arguments of the example servers, and prints what they print.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "python"))

import uvicorn  # noqa: E402
from pages import Pages  # noqa: E402
from server import App, Site, arguments, listen  # noqa: E402
from uvicorn.supervisors import Multiprocess  # noqa: E402

WORKERS = 2
ARGUMENTS = "UVICORN_SITE"


def create():
    """The application; in each worker."""
    args = json.loads(os.environ[ARGUMENTS])
    site = Site(Pages(args["db"], args["templates"]), args["directory"], args["deployment"], args["render_log"])
    return App(site, os.environ["SITE_ADMIN_TOKEN"])


def main():
    args = arguments()
    # The workers are told by the environment, as any application of uvicorn's is.
    os.environ[ARGUMENTS] = json.dumps(vars(args))
    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    listener = listen(args.port)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        "uvicorn_site:create",
        factory=True,
        workers=WORKERS,
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=3,
    )
    Multiprocess(config, sockets=[listener]).run()


if __name__ == "__main__":
    main()
