"""What Python's locks between processes cost, and its shared numbers."""

import multiprocessing
import time


def run(what, barrier, held, times, told):
    barrier.wait()
    begun = time.perf_counter()
    ROUNDS[what](held, times)
    told.put(time.perf_counter() - begun)


def lock(held, times):
    for _ in range(times):
        with held:
            pass


def increment(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


ROUNDS = {"lock": lock, "increment": increment}


def locks(_peer, size):
    context = multiprocessing.get_context("spawn")
    alone, times = size(200_000, 10_000), size(100_000, 5_000)
    for what, held in [("lock", context.Lock()), ("increment", context.Value("Q", 0))]:
        begun = time.perf_counter()
        ROUNDS[what](held, alone)
        print(f"{what}_free_ns", (time.perf_counter() - begun) / alone * 1e9, flush=True)
        barrier, told = context.Barrier(2), context.SimpleQueue()
        started = [context.Process(target=run, args=(what, barrier, held, times, told)) for _ in range(2)]
        for process in started:
            process.start()
        took = max(told.get() for _ in started)
        for process in started:
            process.join()
        print(f"{what}_contended_ns", took / (2 * times) * 1e9, flush=True)
