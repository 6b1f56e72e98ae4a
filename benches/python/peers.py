"""How each library runs one task, many tasks, a map: its own best way, with two workers."""

import contextlib
import multiprocessing
import time

from work import WORKERS, add_one, burn, die, echo, last, say


class Peer:
    """Tasks by `submit(function, argument)`, which gives something with `result()`."""

    modules = ()
    # Whether `map` without a chunk size chooses one by itself.
    has_default_chunk = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def one(self, n):
        return self.submit(add_one, n).result()

    def gather(self, function, arguments):
        return [future.result() for future in [self.submit(function, argument) for argument in arguments]]

    def many(self, count):
        assert sum(self.gather(add_one, range(count))) == count * (count + 1) // 2

    def map(self, count, chunk):
        options = {} if chunk is None else {"chunksize": chunk}
        assert sum(self.mapped(range(count), **options)) == count * (count + 1) // 2

    def echo(self, data):
        return self.submit(echo, data).result()

    def last(self, lengths):
        self.gather(last, lengths)

    def burn(self, count, each):
        self.gather(burn, [each] * count)

    def die(self):
        """Whether it is reported."""
        try:
            self.submit(die).result()
        except Exception:
            return True
        return False

    def executor(self):
        """What `asyncio` can use."""
        return None

    def abandon(self):
        """Ends a pool that may be broken."""
        self.close()

    @contextlib.contextmanager
    def pending(self, count):
        held = [self.submit(last, 1.0) for _ in range(WORKERS)]
        futures = [self.submit(add_one, n) for n in range(count)]
        yield
        for future in held + futures:
            future.result()

    @classmethod
    def spawn(cls):
        """Seconds until one process of the library's own kind says its first word, where it has one."""
        return None


class CPython(Peer):
    modules = ("concurrent.futures.process",)

    def __init__(self, workers):
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)
        self.submit = self.pool.submit

    def mapped(self, items, **options):
        return self.pool.map(add_one, items, **options)

    def executor(self):
        return self.pool

    def close(self):
        self.pool.shutdown()


class AsyncResult:
    def __init__(self, inner):
        self.inner = inner

    def result(self):
        return self.inner.get()


class Pool(Peer):
    modules = ("multiprocessing.pool",)
    has_default_chunk = True

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def submit(self, function, *arguments):
        return AsyncResult(self.pool.apply_async(function, arguments))

    def mapped(self, items, **options):
        return self.pool.map(add_one, items, **options)

    def die(self):
        # It starts another worker and never says that a task is lost.
        return False

    def close(self):
        self.pool.terminate()
        self.pool.join()

    @classmethod
    def spawn(cls):
        begun = time.perf_counter()
        ours, theirs = multiprocessing.Pipe(False)
        process = multiprocessing.Process(target=say, args=(theirs,))
        process.start()
        assert ours.recv() == 1
        took = time.perf_counter() - begun
        process.join()
        return took


class Loky(Peer):
    modules = ("loky",)

    def __init__(self, workers):
        import loky

        self.pool = loky.ProcessPoolExecutor(workers)
        self.submit = self.pool.submit

    def mapped(self, items, **options):
        return self.pool.map(add_one, items, **options)

    def executor(self):
        return self.pool

    def close(self):
        self.pool.shutdown()


class Pebble(Peer):
    modules = ("pebble",)

    def __init__(self, workers):
        import pebble

        self.pool = pebble.ProcessPool(max_workers=workers)

    def submit(self, function, *arguments):
        return self.pool.schedule(function, args=arguments)

    def mapped(self, items, **options):
        return self.pool.map(add_one, items, **options).result()

    def executor(self):
        return None

    def close(self):
        self.pool.stop()
        self.pool.join()


class Mpire(Peer):
    modules = ("mpire",)
    has_default_chunk = True

    def __init__(self, workers):
        import mpire

        # Otherwise a map ends its workers, and the next one starts others.
        self.pool = mpire.WorkerPool(n_jobs=workers, keep_alive=True)

    def submit(self, function, *arguments):
        return AsyncResult(self.pool.apply_async(function, arguments))

    def mapped(self, items, chunksize=None):
        return self.pool.map(add_one, items, iterable_len=len(items), chunk_size=chunksize)

    def abandon(self):
        self.pool.terminate()

    def close(self):
        self.pool.terminate()


PEERS = {
    "cpython-executor": CPython,
    "multiprocessing-pool": Pool,
    "loky": Loky,
    "pebble": Pebble,
    "mpire": Mpire,
}
