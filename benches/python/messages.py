"""What a message through Python's pipes and queues between processes costs."""

import multiprocessing
import time

LARGE = 1 << 20
PRODUCERS = 4


def answer(asked):
    try:
        while True:
            asked.send(asked.recv() + 1)
    except EOFError:
        pass


def produce(numbers, count):
    for number in range(count):
        numbers.send(number)


def produce_large(messages, count):
    message = bytes(LARGE)
    for _ in range(count):
        messages.send(message)


def answer_items(asked, answers):
    while (number := asked.get()) is not None:
        answers.put(number + 1)


def put(items, count, begin):
    begin.wait()
    for number in range(count):
        items.put(number)


def round_trips(times, ask):
    for number in range(times // 10):
        ask(number)
    begun = time.perf_counter()
    for number in range(times):
        assert ask(number) == number + 1
    print("round_trip_us", (time.perf_counter() - begun) / times * 1e6, flush=True)


def one_way(context, produce, count, value):
    receiver, sender = context.Pipe(duplex=False)
    producer = context.Process(target=produce, args=(sender, count))
    producer.start()
    sender.close()
    # The first one says that the other side is there.
    total = value(receiver.recv())
    begun = time.perf_counter()
    for _ in range(count - 1):
        total += value(receiver.recv())
    took = time.perf_counter() - begun
    producer.join()
    return (count - 1) / took, total


def pipes(_peer, size):
    context = multiprocessing.get_context("spawn")
    trips, count, large = size(20_000, 1_000), size(100_000, 5_000), size(500, 50)
    asking, asked = context.Pipe()
    answering = context.Process(target=answer, args=(asked,))
    answering.start()
    asked.close()

    def ask(number):
        asking.send(number)
        return asking.recv()

    round_trips(trips, ask)
    asking.close()
    answering.join()
    found, total = one_way(context, produce, count, int)
    assert total == sum(range(count))
    print("one_way_per_s", found, flush=True)
    found, total = one_way(context, produce_large, large, len)
    assert total == large * LARGE
    print("large_mb_per_s", found * LARGE / 1e6, flush=True)


def items(context, producers, count):
    queue, begin = context.Queue(), context.Barrier(producers + 1)
    started = [context.Process(target=put, args=(queue, count // producers, begin)) for _ in range(producers)]
    for producer in started:
        producer.start()
    # A queue may hold all items before the first is got, so time begins before that is put.
    begin.wait()
    begun = time.perf_counter()
    total = sum(queue.get() for _ in range(count))
    took = time.perf_counter() - begun
    assert total == producers * sum(range(count // producers))
    for producer in started:
        producer.join()
    return count / took


def queues(_peer, size):
    context = multiprocessing.get_context("spawn")
    trips, count = size(20_000, 1_000), size(100_000, 8_000)
    asked, answers = context.Queue(), context.Queue()
    answering = context.Process(target=answer_items, args=(asked, answers))
    answering.start()

    def ask(number):
        asked.put(number)
        return answers.get()

    round_trips(trips, ask)
    # A queue of Python's does not end by itself.
    asked.put(None)
    answering.join()
    print("one_way_per_s", items(context, 1, count), flush=True)
    print("from_four_per_s", items(context, PRODUCERS, count), flush=True)
