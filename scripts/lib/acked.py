"""What was acknowledged, and whether it is there: producers of their own process, a reader that shares
no code with them, and the count of what was lost, doubled or out of order.

It must hold, whatever was done to the broker: every acknowledged record lies at its offset; offsets
begin at 0 and have no gaps; values are whole; the idempotent topic has each number once and in order.
"""

import pathlib
import subprocess
import sys
import time
import zlib

import brokers

PARTITIONS = 6
TOPICS = {"kill-idempotent": "idempotent", "kill-plain": "plain"}
SHOWN = 8
END_TIMEOUT_S = 150
READ_QUIET_S = 30


class Load:
    """One producer process and what it says was acknowledged."""

    def __init__(self, broker, topic, mode, seed, scratch, scale=1, pause=2):
        self.topic, self.mode, self.path = topic, mode, scratch / f"{topic}.acks"
        self.path.touch()
        self.at, self.count, self.failed = 0, 0, []
        self.offsets = {p: {} for p in range(PARTITIONS)}
        self.fresh = []
        self.first_ms = self.last_ms = None
        self.worst_gap_ms = 0
        program = pathlib.Path(__file__).resolve().parent / "numbered.py"
        command = [sys.executable, program, broker.bootstrap, topic, str(PARTITIONS), mode, str(seed), self.path, str(scale), str(pause)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def read(self):
        """Takes in what was noted since the last time; whole lines only."""
        with open(self.path, "rb") as file:
            file.seek(self.at)
            data = file.read()
        data = data[:data.rfind(b"\n") + 1]
        self.at += len(data)
        for line in data.decode().splitlines():
            words = line.split()
            if words[0] == "failed":
                self.failed.append(line)
            elif words[0] != "end":
                self._acknowledged(*map(int, words))
        return self

    def _acknowledged(self, partition, number, offset, ms):
        self.count += 1
        other = self.offsets[partition].setdefault(offset, number)
        if other != number:
            self.failed.append(f"partition {partition}: offset {offset} was given to {other} and to {number}")
        self.fresh.append((partition, offset, number))
        if self.last_ms is None:
            self.first_ms = ms
        else:
            self.worst_gap_ms = max(self.worst_gap_ms, ms - self.last_ms)
        self.last_ms = ms

    def size(self):
        """Bytes noted so far: grows as long as appends are acknowledged."""
        return self.path.stat().st_size

    def end(self):
        """Lets it send what it has and stop. Returns what is wrong."""
        self.process.stdin.close()
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return [f"{self.topic}: the producer did not come to its end"]
        return [f"{self.topic}: {line}" for line in self.read().failed]


class Reader:
    """What lies in one topic, read once and remembered: numbers by partition and offset."""

    def __init__(self, topic, crcs=True):
        self.topic, self.crcs, self.seen = topic, crcs, {p: [] for p in range(PARTITIONS)}
        self.stamps_ms = {}
        self.damaged = 0

    def read_on(self, bootstrap, again=False):
        """Reads to the present end. Returns what is wrong with what it found."""
        from kafka import KafkaConsumer, TopicPartition
        from kafka.errors import KafkaError
        wrong, old = [], self.seen
        if again:
            self.seen = {p: [] for p in range(PARTITIONS)}
        parts = [TopicPartition(self.topic, p) for p in range(PARTITIONS)]
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="none", fetch_max_wait_ms=100,
                                 max_partition_fetch_bytes=8 << 20, max_poll_records=5000, check_crcs=self.crcs)
        try:
            consumer.assign(parts)
            begins, ends = consumer.beginning_offsets(parts), consumer.end_offsets(parts)
            for tp in parts:
                if begins[tp]:
                    wrong.append(f"{self.topic}-{tp.partition}: begins at {begins[tp]}")
                if ends[tp] < len(self.seen[tp.partition]):
                    wrong.append(f"{self.topic}-{tp.partition}: ends at {ends[tp]}, but {len(self.seen[tp.partition])} records were read before")
                consumer.seek(tp, len(self.seen[tp.partition]))
            quiet = time.monotonic() + READ_QUIET_S
            while any(len(self.seen[tp.partition]) < ends[tp] for tp in parts):
                for tp, records in consumer.poll(200).items():
                    for record in records:
                        self.take(tp.partition, record, wrong)
                    quiet = time.monotonic() + READ_QUIET_S
                if time.monotonic() > quiet or len(wrong) > 50:
                    wrong.append(f"{self.topic}: reading stopped at { {tp.partition: (len(self.seen[tp.partition]), ends[tp]) for tp in parts} }")
                    break
        except (KafkaError, KeyError) as error:
            wrong.append(f"{self.topic}: reading failed: {type(error).__name__} {error}")
        finally:
            consumer.close()
        if again:
            wrong += [f"{self.topic}-{p}: not what was read before" for p in old if old[p] != self.seen[p][:len(old[p])]]
        self.damaged += len(wrong)
        return wrong

    def take(self, partition, record, wrong):
        seen = self.seen[partition]
        where = f"{self.topic}-{partition}@{record.offset}"
        if record.offset != len(seen):
            wrong.append(f"{where}: offset {len(seen)} was due")
        said, number, crc, body = record.value.split(b" ", 3)
        if int(said) != partition or zlib.crc32(body) != int(crc, 16):
            wrong.append(f"{where}: not the value that was sent")
        seen.append(int(number))
        self.stamps_ms[partition] = record.timestamp

    def disorder(self):
        """Numbers that came again, and numbers behind a later one; and a line for each partition with some."""
        doubled, late, wrong = 0, 0, []
        for p, seen in self.seen.items():
            if all(n == i for i, n in enumerate(seen)):
                continue
            first = next(i for i, n in enumerate(seen) if n != i)
            wrong.append(f"{self.topic}-{p}@{first}: number {seen[first]} where {first} was due (lost, doubled or out of order)")
            known, most = set(), -1
            for number in seen:
                doubled += number in known
                late += number < most and number not in known
                known.add(number)
                most = max(most, number)
        return doubled, late, wrong


class Watch:
    """The loads over one broker, what was read back, and the sum of it. `crcs`: whether kafka-python checks
    the batches too, which is slow; every value has a sum of its own."""

    def __init__(self, broker, seed, scratch, scale=1, pause=2, crcs=True):
        self.broker = broker
        create_topics(broker.bootstrap)
        self.readers = {topic: Reader(topic, crcs) for topic in TOPICS}
        self.lost, self.doubled, self.late = set(), 0, 0
        self.loads = []
        brokers.at_end(self.kill)
        for topic, mode in TOPICS.items():
            self.loads.append(Load(broker, topic, mode, seed, scratch, scale, pause))

    def acknowledged(self):
        return sum(load.read().count for load in self.loads)

    def size(self):
        return [load.size() for load in self.loads]

    def goes_on(self, timeout=60):
        """Waits until every load has new acknowledgements; how long that took, or None."""
        began, before = time.monotonic(), self.size()
        while not all(now > then for now, then in zip(self.size(), before)):
            if time.monotonic() - began > timeout:
                return None
            time.sleep(0.02)
        return time.monotonic() - began

    def check(self, again=False):
        """What does not hold now. Acknowledged first, so that nothing read later can excuse it."""
        wrong = []
        for load in self.loads:
            load.read()
        for load in self.loads:
            due, load.fresh = load.fresh, []
            if again:
                due = [(p, o, n) for p, by_offset in load.offsets.items() for o, n in by_offset.items()]
            reader = self.readers[load.topic]
            wrong += [f"{load.topic}: {line}" for line in load.failed]
            wrong += reader.read_on(self.broker.bootstrap, again)
            wrong += self._missing(load.topic, reader, due)
        disorders = [self.readers[load.topic].disorder() for load in self.loads if load.mode == "idempotent"]
        self.doubled, self.late = sum(d[0] for d in disorders), sum(d[1] for d in disorders)
        return wrong + [line for d in disorders for line in d[2]]

    def _missing(self, topic, reader, due):
        """Acknowledged records that do not lie where the broker said."""
        lost = [(p, o, n) for p, o, n in due if o >= len(reader.seen[p]) or reader.seen[p][o] != n]
        self.lost.update((topic, p, o) for p, o, n in lost)
        if not lost:
            return []
        return [f"{topic}: {len(lost)} acknowledged records are not at their offsets, first (partition, offset, number) {min(lost)}"]

    def end(self):
        return [wrong for load in self.loads for wrong in load.end()]

    def kill(self):
        for load in self.loads:
            if load.process.poll() is None:
                load.process.kill()

    def whole(self):
        """Nothing lost, doubled or out of order, and no value or offset damaged."""
        return not (self.lost or self.doubled or self.late or self.damaged())

    def damaged(self):
        return sum(reader.damaged for reader in self.readers.values())

    def line(self, form, faults):
        """The summary: what was held, what was done to it, what became of it."""
        rates, gap = [], 0
        for load in self.loads:
            if load.first_ms is not None and load.last_ms > load.first_ms:
                rates.append(load.count * 1000 / (load.last_ms - load.first_ms))
            gap = max(gap, load.worst_gap_ms)
        injected = ", ".join(f"{kind} {count}" for kind, count in faults.items())
        return (f"{form}: load {sum(rates):.0f} records/s; injected {injected or 'nothing'}; acknowledged {self.acknowledged()}, "
                f"lost {len(self.lost)}, duplicated {self.doubled}, out of order {self.late}, damaged {self.damaged()}, "
                f"worst gap {gap / 1000:.1f} s")


def create_topics(bootstrap):
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in TOPICS])
    admin.close()


class Score:
    def __init__(self):
        self.good = self.bad = 0

    def add(self, name, wrong):
        if wrong:
            self.bad += 1
            print(f"FAIL {name}", *[f"    {w}" for w in wrong[:SHOWN]], sep="\n", flush=True)
        else:
            self.good += 1
            print(f"ok {name}", flush=True)
