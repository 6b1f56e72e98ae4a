"""Time, CPU time, memory and wake-ups, as `benches/suite/contest` measures them."""

import asyncio
import os
import threading
import time

from work import add_one

# What takes longer than this is done in a smaller amount: its rate does not depend on that.
PATIENCE = 0.5


def own_pid():
    return os.getpid()


def timed(action, *arguments):
    begun = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - begun


def affordable(full, tried, took):
    return max(tried, min(full, int(PATIENCE / (took / tried))))


def percentile(samples, part):
    return sorted(samples)[round((len(samples) - 1) * part)]


def calls(pool, count, pause):
    samples = []
    for n in range(count):
        if pause:
            time.sleep(pause)
        begun = time.perf_counter()
        result = pool.one(n)
        samples.append(time.perf_counter() - begun)
        assert result == n + 1
    return samples


def warm_up(size):
    """Seconds of one task after the other before it counts, as in the suite."""
    return size(100, 10) / 1e3


async def awaited_calls(executor, count, pause, warm_up=0):
    loop = asyncio.get_running_loop()
    warm = time.perf_counter() + warm_up
    samples = []
    n = 0
    while len(samples) < count:
        if pause:
            await asyncio.sleep(pause)
        begun = time.perf_counter()
        result = await loop.run_in_executor(executor, add_one, n)
        if begun >= warm:
            samples.append(time.perf_counter() - begun)
        assert result == n + 1
        n += 1
    return samples


def kin():
    """The descendants of this process."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(name)] = int(fields[1])
    found = []
    for pid in parents:
        at = pid
        while at in parents and parents[at] != os.getpid():
            at = parents[at]
        if at in parents:
            found.append(pid)
    return found


def cpu(children):
    """CPU time of this process and of those."""
    total = 0.0
    for pid in [os.getpid(), *children]:
        try:
            # The kernel's name for the CPU clock of another process.
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            pass
    return total


def private(pid):
    """Bytes of memory that no other process shares."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_")) * 1024


def threads(pid):
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def wake_ups(children):
    own = str(threading.get_native_id())
    total = 0
    for pid in [os.getpid(), *children]:
        for thread in threads(pid):
            if thread == own:
                continue
            try:
                with open(f"/proc/{pid}/task/{thread}/status") as file:
                    lines = [line for line in file if line.startswith("voluntary_ctxt_switches")]
            except OSError:
                continue
            total += int(lines[0].split()[1])
    return total


def orders(short, long):
    one, hundred = 0.001, 0.1
    mixed = []
    for _ in range(long):
        mixed += [hundred] + [one] * (short // long)
    places = list(range(short + long))
    state = 10
    for end in range(len(places) - 1, 0, -1):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        other = (state >> 33) % (end + 1)
        places[end], places[other] = places[other], places[end]
    random = [hundred if place < long else one for place in places]
    return [
        ("long_first", [hundred] * long + [one] * short),
        ("long_last", [one] * short + [hundred] * long),
        ("mixed", mixed),
        ("random", random),
    ]


def ideal(lengths, workers):
    free = [0.0] * workers
    for length in lengths:
        free[free.index(min(free))] += length
    return max(free)
