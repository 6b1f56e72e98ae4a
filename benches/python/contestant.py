"""The peers in Python: the same workloads as `benches/suite/contest`, printed in the same way."""

import asyncio
import importlib
import sys
import time

import locks
import managers
import measure
import messages
import peers
from work import WORKERS, Size


def latency(peer, size):
    with peer(WORKERS) as pool:
        pool.many(200)
        begun = time.perf_counter()
        while time.perf_counter() - begun < measure.warm_up(size):
            measure.calls(pool, 100, 0)
        count = size(2000, 200)
        kin = measure.kin()
        cpu = measure.cpu(kin)
        hot = measure.calls(pool, count, 0)
        emit("cpu_us", (measure.cpu(kin) - cpu) / count * 1e6)
        emit("hot_p50_us", measure.percentile(hot, 0.5) * 1e6)
        emit("hot_p99_us", measure.percentile(hot, 0.99) * 1e6)
        idle = measure.calls(pool, size(300, 50), 0.001)
        emit("idle_p50_us", measure.percentile(idle, 0.5) * 1e6)
        emit("idle_p99_us", measure.percentile(idle, 0.99) * 1e6)


def awaited(peer, size):
    with peer(WORKERS) as pool:
        executor = pool.executor()
        if executor is None:
            return
        hot = asyncio.run(measure.awaited_calls(executor, size(1000, 100), 0, measure.warm_up(size)))
        idle = asyncio.run(measure.awaited_calls(executor, size(300, 50), 0.001))
        emit("current_p50_us", measure.percentile(hot, 0.5) * 1e6)
        emit("current_p99_us", measure.percentile(hot, 0.99) * 1e6)
        emit("current_idle_p50_us", measure.percentile(idle, 0.5) * 1e6)


def throughput(peer, size):
    with peer(WORKERS) as pool:
        # The workers start with this, which is no part of the rate.
        pool.many(200)
        full, trial = size(100_000, 10_000), 1_000
        count = measure.affordable(full, trial, measure.timed(pool.many, trial))
        kin = measure.kin()
        cpu = measure.cpu(kin)
        took = measure.timed(pool.many, count)
        emit("cpu_us", (measure.cpu(kin) - cpu) / count * 1e6)
        emit("tasks_per_s", count / took)


def mapping(peer, size):
    with peer(WORKERS) as pool:
        pool.map(200, 1)
        full = size(1_000_000, 50_000)

        def rate(chunk):
            # One by one a slow one needs long for few; in chunks a trial of one chunk says nothing.
            trial = 1_000 if chunk == 1 else full // 100
            count = measure.affordable(full, trial, measure.timed(pool.map, trial, chunk))
            return count / measure.timed(pool.map, count, chunk)

        emit("chunk_1_per_s", rate(1))
        if pool.has_default_chunk:
            emit("default_per_s", rate(None))
        best, items = max((rate(items), items) for items in (1_000, 10_000, 100_000))
        emit("best_per_s", best)
        emit("best_chunk", items)


def payload(peer, size):
    kib, mib = 1 << 10, 1 << 20
    sizes = [("1k", kib, 200), ("64k", 64 * kib, 100), ("1m", mib, 20), ("16m", 16 * mib, 4)]
    sizes += size([("64m", 64 * mib, 2), ("256m", 256 * mib, 1)], [])
    with peer(WORKERS) as pool:
        pool.many(100)
        for name, length, times in sizes:
            sent = bytes(i * 31 & 255 for i in range(1021)) * (length // 1021 + 1)
            sent = sent[:length]
            assert pool.echo(sent) == sent
            samples = []
            first = time.perf_counter()
            for _ in range(times):
                # A slow one is timed less often, but once.
                if samples and time.perf_counter() - first > 0.5:
                    break
                begun = time.perf_counter()
                back = pool.echo(sent)
                samples.append(time.perf_counter() - begun)
                assert len(back) == length and back[-1] == sent[-1]
            median = measure.percentile(samples, 0.5)
            if length < mib:
                emit(f"{name}_us", median * 1e6)
            else:
                emit(f"{name}_gb_per_s", 2 * length / median / 1e9)
            # Who needs this long for one size is not asked for the next.
            if median > 0.6:
                break


def start(peer, _size):
    begun = time.perf_counter()
    with peer(WORKERS) as pool:
        assert pool.one(1) == 2
        emit("first_result_ms", (time.perf_counter() - begun) * 1e3)


def spawn(peer, size):
    samples = [took for took in (peer.spawn() for _ in range(size(20, 5))) if took is not None]
    if samples:
        emit("spawn_ms", measure.percentile(samples[1:], 0.5) * 1e3)


def crash(peer, _size):
    for workers, prefix in ((WORKERS, ""), (1, "alone_")):
        reported, following = [], []
        for _ in range(3):
            pool = peer(workers)
            pool.many(100)
            time.sleep(0.02)
            begun = time.perf_counter()
            if not pool.die():
                return
            told = time.perf_counter()
            reported.append(told - begun)
            try:
                if pool.one(1) == 2:
                    following.append(time.perf_counter() - told)
            except Exception:
                # A pool that is broken for good has no next task.
                pass
            pool.abandon()
        emit(f"{prefix}reported_ms", measure.percentile(reported, 0.5) * 1e3)
        if following:
            emit(f"{prefix}next_ms", measure.percentile(following, 0.5) * 1e3)


def skew(peer, size):
    short, long = size(126, 62), size(6, 2)
    with peer(WORKERS) as pool:
        pool.many(1_000)
        pool.last([0.001] * 20)
        worst = 0.0
        for name, lengths in measure.orders(short, long):
            ratio = measure.timed(pool.last, lengths) / measure.ideal(lengths, WORKERS)
            emit(f"{name}_x_ideal", ratio)
            worst = max(worst, ratio)
        emit("worst_x_ideal", worst)


def efficiency(peer, size):
    count, each = size(20_000, 4_000), 50e-6
    with peer(WORKERS) as pool:
        pool.burn(1_000, each)
        kin = measure.kin()
        cpu = measure.cpu(kin)
        took = measure.timed(pool.burn, count, each)
        used = measure.cpu(kin) - cpu
        emit("share_of_cores", count * each / (took * WORKERS))
        emit("share_of_used_cpu", count * each / used)


def memory(peer, size):
    with peer(WORKERS) as pool:
        pool.many(size(5_000, 1_000))
        time.sleep(0.1)
        emit("worker_kib", sum(map(measure.private, measure.kin())) / 1024 / WORKERS)
        own = measure.own_pid()
        emit("parent_threads", len(measure.threads(own)))
        count = size(50_000, 5_000)
        before = measure.private(own)
        with pool.pending(count):
            emit("pending_bytes", max(0, measure.private(own) - before) / count)


def idle(peer, size):
    with peer(WORKERS) as pool:
        pool.many(1_000)
        time.sleep(size(2, 1))
        kin, seconds = measure.kin(), size(10, 2)
        before = measure.wake_ups(kin)
        time.sleep(seconds)
        emit("wake_ups_in_10_s", max(0, measure.wake_ups(kin) - before) * 10 / seconds)


WORKLOADS = {
    "latency": latency,
    "async": awaited,
    "throughput": throughput,
    "map": mapping,
    "bytes": payload,
    "start": start,
    "spawn": spawn,
    "crash": crash,
    "skew": skew,
    "efficiency": efficiency,
    "memory": memory,
    "idle": idle,
    "locks": locks.locks,
    "manager": managers.manager,
    "pipes": messages.pipes,
    "queues": messages.queues,
}


def emit(metric, figure):
    print(metric, figure, flush=True)


def main():
    _, _, name, workload, size = sys.argv
    peer = peers.PEERS[name]
    # What a program imports at its beginning is not the pool's start.
    for module in peer.modules:
        importlib.import_module(module)
    WORKLOADS[workload](peer, Size(size))


if __name__ == "__main__":
    main()
