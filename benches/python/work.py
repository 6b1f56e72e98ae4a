"""The tasks, and their amounts."""

import os
import signal
import time

WORKERS = 2


class Size:
    """Chooses one of two amounts."""

    def __init__(self, name):
        self.full = {"full": True, "quick": False}[name]

    def __call__(self, full, quick):
        return full if self.full else quick


def add_one(n):
    return n + 1


def echo(data):
    return data


def last(seconds):
    # Sleeps at first, since a machine has few CPUs, and spins at the end, since a sleep is not exact.
    until = time.perf_counter() + seconds
    time.sleep(max(0, seconds - 200e-6))
    while time.perf_counter() < until:
        pass


def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def say(pipe):
    pipe.send(1)
