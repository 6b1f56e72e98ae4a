"""What a message through Python's pipes between processes costs."""

import multiprocessing
import time

LARGE = 1 << 20


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


def one_way(context, produce, count):
    receiver, sender = context.Pipe(duplex=False)
    producer = context.Process(target=produce, args=(sender, count))
    producer.start()
    sender.close()
    receiver.recv()
    begun = time.perf_counter()
    for _ in range(count - 1):
        receiver.recv()
    took = time.perf_counter() - begun
    producer.join()
    return took


def pipes(_peer, size):
    context = multiprocessing.get_context("spawn")
    trips, count, large = size(20_000, 1_000), size(100_000, 5_000), size(500, 50)
    asking, asked = context.Pipe()
    answering = context.Process(target=answer, args=(asked,))
    answering.start()
    asked.close()
    for number in range(trips // 10):
        asking.send(number)
        asking.recv()
    begun = time.perf_counter()
    for number in range(trips):
        asking.send(number)
        assert asking.recv() == number + 1
    print("round_trip_us", (time.perf_counter() - begun) / trips * 1e6, flush=True)
    asking.close()
    answering.join()
    print("one_way_per_s", (count - 1) / one_way(context, produce, count), flush=True)
    print("large_mb_per_s", (large - 1) * LARGE / 1e6 / one_way(context, produce_large, large), flush=True)
