"""A producer on its own: numbered records to every partition of a topic, and a file that says which
were acknowledged and where. Runs through deaths of the broker until its stdin closes.

    numbered.py BOOTSTRAP TOPIC PARTITIONS MODE SEED ACKFILE [SCALE [PAUSE]]      MODE: idempotent | plain

A record's value is `partition number crc32 padding`; SCALE makes the ordinary ones so many times longer; PAUSE is the
milliseconds between two of its turns (2). A line of the file is `partition number offset milliseconds` (when it was told, on a clock of its own),
or `failed partition number error`; the last line is `end N` with the records sent.
"""

import random
import select
import sys
import time
import zlib

from confluent_kafka import Producer


def value(partition, number, padding):
    body = bytes([97 + number % 26]) * padding
    return b"%d %d %08x " % (partition, number, zlib.crc32(body)) + body


def main():
    bootstrap, topic, partitions, mode, seed, path, *more = sys.argv[1:]
    scale, pause = (list(map(int, more)) + [1, 2][len(more):])
    partitions, dice = int(partitions), random.Random(int(seed))
    settings = {"bootstrap.servers": bootstrap, "broker.address.family": "v4", "linger.ms": 2,
                "message.timeout.ms": 600_000, "socket.timeout.ms": 10_000, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 300,
                "queue.buffering.max.messages": 20_000, "retry.backoff.ms": 50, "log_level": 0}
    settings |= {"enable.idempotence": True} if mode == "idempotent" else {"acks": 1, "compression.type": "lz4"}
    fatal = []
    producer = Producer(settings | {"error_cb": lambda e: fatal.append(e) if e.fatal() else None})
    acks = open(path, "w", buffering=1 << 16)

    def report(partition, number):
        def done(error, message):
            if error is None:
                acks.write(f"{partition} {number} {message.offset()} {int(time.monotonic() * 1000)}\n")
            else:
                acks.write(f"failed {partition} {number} {error}\n")
        return done

    numbers, sent = [0] * partitions, 0
    while not select.select([sys.stdin], [], [], 0)[0] and not fatal:
        # Mostly small records; sometimes a run of large ones for one partition, some tens of KiB each.
        partition = dice.randrange(partitions)
        run, padding = (dice.randrange(5, 30), 40_000) if dice.random() < 0.003 else (dice.randrange(1, 9), scale * dice.randrange(10, 400))
        for _ in range(run):
            number = numbers[partition]
            try:
                producer.produce(topic, value(partition, number, padding), partition=partition, on_delivery=report(partition, number))
            except BufferError:
                break
            numbers[partition] += 1
            sent += 1
        # Some thousand records a second, so that reading them back stays quick.
        producer.poll(pause / 1000)
        acks.flush()
    left = producer.flush(120)
    for error in fatal:
        acks.write(f"failed -1 -1 fatal: {error}\n")
    acks.write(f"end {sent - left}\n" if not left else f"failed -1 -1 {left} records never answered\nend {sent}\n")
    acks.close()


if __name__ == "__main__":
    main()
