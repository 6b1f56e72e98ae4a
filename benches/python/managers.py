"""What a call of an object costs that Python's manager keeps."""

import multiprocessing
import time
from multiprocessing.managers import BaseManager


class Counter:
    def __init__(self):
        self.count = 0

    def add(self, amount):
        self.count += amount
        return self.count


class Counters(BaseManager):
    pass


Counters.register("Counter", Counter)


def calls(metric, times, call):
    for _ in range(times // 10):
        call()
    begun = time.perf_counter()
    for _ in range(times):
        call()
    print(metric, (time.perf_counter() - begun) / times * 1e6, flush=True)


def manager(_peer, size):
    context = multiprocessing.get_context("spawn")
    times = size(10_000, 1_000)
    with context.Manager() as keeper:
        value = keeper.Value("Q", 7)
        calls("get_us", times, value.get)
        assert value.get() == 7
    with Counters(ctx=context) as keeper:
        counter = keeper.Counter()
        calls("add_us", times, lambda: counter.add(3))
        assert counter.add(0) == (times // 10 + times) * 3
