"""What the stories of the demo are told with."""

import threading
import time

from servers import Client

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 20


def ms(seconds):
    return f"{seconds * 1e3:.1f} ms"


def us(seconds):
    return f"{seconds * 1e6:.0f} µs"


class Report:
    """Prints one line for each claim, and remembers the wrong ones."""

    def __init__(self):
        self.claims = 0
        self.failed = []

    def title(self, text):
        print(f"\n{text}\n{'-' * len(text)}", flush=True)

    def line(self, ok, claim, detail=""):
        self.claims += 1
        if not ok:
            self.failed.append(claim)
        print(f"  {'✓' if ok else '✗'} {claim:<58} {detail}", flush=True)


def polled(true):
    """Whether it becomes true before patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def crowd(ports, path, size):
    """As many connections, opened first, to these servers in turn; then all ask at once."""
    answers, errors = [], []
    ready = threading.Barrier(size)

    def ask(port):
        try:
            with Client(port) as client:
                client.connect()
                ready.wait(30)
                answers.append(client.get(path))
        except (OSError, threading.BrokenBarrierError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(ports[i % len(ports)],)) for i in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not answers:
        raise OSError(f"no client of {size} got an answer: {errors[0]}")
    return answers
