"""Rounds of harm: one fault done to a broker under load, and all that must hold afterwards.

Each takes the watch over the loads, the dice, the count of faults by kind and the score; each returns
whether there is a broker left to go on with. A fault is counted when it was seen to happen.
"""

import os
import pathlib
import signal
import threading
import time

from brokers import Failed

BACK_TIMEOUT_S = 60


def run(watch, score, rounds):
    """All rounds, then the ordinary end: the loads stop, and after a stop and a start all is read again."""
    broker = watch.broker
    if all(rounds):
        score.add("producers came to their end without errors", watch.end())
        broker.stop()
        broker.start()
        wrong = watch.check(again=True)
        score.add(f"after an ordinary restart all {watch.acknowledged()} acknowledged are there", wrong)
    if not broker.alive():
        score.add("the broker lives at the end", [broker.tail()])
    else:
        broker.stop()


def _restart(broker, score, name):
    """How long the start took, or None and a failure."""
    began = time.monotonic()
    try:
        broker.start()
    except Failed as error:
        score.add(name, [str(error)])
        return None
    return time.monotonic() - began


def kill(watch, dice, faults, score):
    time.sleep(dice.choice([dice.uniform(0.05, 0.5), dice.uniform(0.5, 3)]))
    watch.broker.kill()
    faults["kill -9"] += 1
    took = _restart(watch.broker, score, f"starts after kill -9 number {faults['kill -9']}")
    if took is None:
        return False
    wrong = watch.check()
    score.add(f"kill -9 number {faults['kill -9']}: {watch.acknowledged()} acknowledged, back after {took:.2f} s", wrong)
    return True


def stop(watch, dice, faults, score, seconds):
    """SIGSTOP; one time in four the process is killed as it stands there."""
    broker, wrong = watch.broker, []
    time.sleep(dice.uniform(0.2, 1.5))
    os.kill(broker.pid, signal.SIGSTOP)
    end = time.monotonic() + seconds
    _stands(broker)
    time.sleep(0.3)
    still = watch.size()
    time.sleep(max(0, end - time.monotonic()))
    if watch.size() == still and _stands(broker):
        faults["SIGSTOP"] += 1
        faults["seconds stopped"] += round(seconds)
    else:
        wrong.append("the broker did not stand still")
    dies = dice.random() < 0.25
    name = f"stopped for {seconds:.1f} s" + (", killed as it stood" if dies else "")
    if dies:
        broker.kill()
        faults["kill -9 while stopped"] += 1
        if _restart(broker, score, name) is None:
            return False
    else:
        os.kill(broker.pid, signal.SIGCONT)
    took = watch.goes_on(BACK_TIMEOUT_S)
    if took is None:
        wrong.append(f"no acknowledgements within {BACK_TIMEOUT_S} s")
    wrong += watch.check()
    score.add(f"{name}: {watch.acknowledged()} acknowledged, going on after {took or BACK_TIMEOUT_S:.2f} s", wrong)
    return broker.alive()


def _stands(broker):
    """Waits until the kernel says that it is stopped."""
    for _ in range(200):
        if pathlib.Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True
        time.sleep(0.01)
    return False


def cut(watch, dice, faults, score, layer, churn):
    """The power fails: mostly at one operation of the disk, sometimes at any moment; and once more, or twice, in recovery."""
    broker = watch.broker
    time.sleep(dice.uniform(0.05, 0.6))
    of = dice.choice(["any", "names", "names", "writes", "flushes"])
    layer.arm(dice.randrange(1, 12 if of == "names" else 400), of)
    told = [_cut(broker, layer, faults, layer.wait_out(dice.uniform(0.2, 2.5)))]
    while dice.random() < 0.25:
        layer.arm(dice.randrange(1, 60), "any")
        try:
            broker.start()
        except Failed:
            pass
        last = layer.wait_out(0.01)
        faults["cuts in recovery"] += last is not None
        told.append(_cut(broker, layer, faults, last))
    name = f"power cut {faults['power cuts']} ({'; again '.join(told)})"
    took = _restart(broker, score, name)
    if took is None:
        return False
    wrong = watch.check() + churn.check(broker.bootstrap)
    score.add(f"{name}: {watch.acknowledged()} acknowledged, back after {took:.2f} s", wrong)
    return not wrong


def _cut(broker, layer, faults, last):
    broker.kill()
    cut = layer.cut()
    when = f"before {last}" if last else "at any moment"
    faults["power cuts"] += 1
    faults[when] = faults.get(when, 0) + 1
    for kind in LOSSES:
        faults[LOSSES[kind]] += cut[kind]
    return f"{when}, {cut['sectors_lost']}/{cut['sectors']} sectors and {cut['names_lost']}/{cut['names']} names lost"


# What the layer counts, and what the summary calls it.
LOSSES = {"dropped": "files dropped", "torn": "torn", "reordered": "reordered", "kept": "kept", "sectors_lost": "sectors lost", "names_lost": "names lost"}


def full(watch, dice, faults, score, disk, deletes, kills):
    """The disk fills up under load, and has room again."""
    broker, wrong = watch.broker, []
    if not disk.fill():
        score.add("fills up", ["there was no room to fill"])
        return False
    stalled = _stalled(watch, disk)
    if not stalled:
        score.add("appends wait on a full disk", [f"{disk.free_bytes()} bytes free, and appends went on for {STALL_TIMEOUT_S} s"])
        return False
    faults["disk full"] += 1
    answer, retriable = probe(broker.bootstrap)
    faults["retriable answers"] += retriable and answer != "stored"
    if not retriable:
        wrong.append(f"an append on the full disk was answered with {answer}")
    wrong += [f"while full: {w}" for w in watch.check()]
    free = disk.free_bytes()
    what = "there was room"
    if kills:
        broker.kill()
        faults["kill -9 while full"] += 1
        what = _start_full(broker, faults, disk)
        if what is None:
            score.add("starts after kill -9 on a full disk", [broker.tail()])
            return False
        wrong += [f"after kill -9 while full: {w}" for w in watch.check()]
    elif deletes:
        faults["topics deleted while full"] += 1
        wrong += disk.delete_topic(broker.bootstrap)
        what = "a topic was deleted"
    if not deletes:
        disk.empty()
    took = watch.goes_on(BACK_TIMEOUT_S)
    if took is None:
        wrong.append(f"no acknowledgements within {BACK_TIMEOUT_S} s after {what} ({disk.free_bytes()} bytes free)")
    disk.empty()
    wrong += watch.check()
    score.add(f"full ({free} bytes free, {answer}{', kill -9' if kills else ''}), then {what}: {watch.acknowledged()} acknowledged, "
              f"going on after {took or BACK_TIMEOUT_S:.2f} s", wrong)
    return not wrong


def _start_full(broker, faults, disk):
    """A start writes what the journals hold into the segments. Without room for that it may refuse, and must
    say so; with room it must start. Says what came about, None when it did neither."""
    try:
        broker.start()
        return "it started on the full disk, and there was room"
    except Failed as error:
        if "No space left" not in str(error).splitlines()[-1]:
            return None
    faults["starts refused for want of room"] = faults.get("starts refused for want of room", 0) + 1
    disk.empty()
    try:
        broker.start()
        return "it refused to start until there was room"
    except Failed:
        return None


STALL_TIMEOUT_S = 90


def _stalled(watch, disk):
    """Waits until no load was acknowledged anything for two seconds."""
    began, since, before = time.monotonic(), time.monotonic(), watch.size()
    while time.monotonic() - began < STALL_TIMEOUT_S:
        time.sleep(0.1)
        now = watch.size()
        if now != before:
            since, before = time.monotonic(), now
        elif time.monotonic() - since > 2:
            return True
    return False


def probe(bootstrap):
    """What one append without retries is told, and whether a client would try it again."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError
    producer = KafkaProducer(bootstrap_servers=bootstrap, retries=0, request_timeout_ms=6000, max_block_ms=5000, enable_idempotence=False,
                             api_version=(2, 6))
    try:
        producer.send("kill-probe", b"?" * 600_000, partition=0).get(8)
        return "stored", True
    except KafkaError as error:
        return type(error).__name__, bool(error.retriable)
    finally:
        producer.close(timeout=2)


def clock(watch, dice, faults, score, clock, hours):
    """The wall clock of the broker jumps; seen in what it stamps."""
    broker, wrong = watch.broker, []
    clock.set_hours(hours)
    took = watch.goes_on(BACK_TIMEOUT_S)
    if took is None:
        wrong.append(f"no acknowledgements within {BACK_TIMEOUT_S} s")
    time.sleep(dice.uniform(0.3, 1.5))
    if dice.random() < 0.5:
        broker.kill()
        faults["kill -9"] += 1
        if _restart(broker, score, f"starts with the clock off by {hours:.1f} h") is None:
            return False
    wrong += watch.check()
    # The last record of each partition: others may be older than the step.
    off = [(stamp / 1000 - time.time()) / 3600 for reader in watch.readers.values() for stamp in reader.stamps_ms.values()]
    if off and all(abs(o - hours) < 0.1 for o in off):
        faults["clock steps"] += 1
    else:
        wrong.append(f"the broker's stamps are off by {sorted(round(o, 1) for o in off)} h")
    score.add(f"clock off by {hours:.1f} h: {watch.acknowledged()} acknowledged", wrong)
    return broker.alive()


class Churn:
    """Topics made and deleted all the while; knows which of them must be there, and which must not."""

    def __init__(self, bootstrap, most=8):
        self.bootstrap, self.most, self.known, self.made = bootstrap, most, {}, 0
        self.ends, self.lock = threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError
        admin = None
        while not self.ends.wait(0.05):
            try:
                if admin is None:
                    admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
                self._step(admin)
            except (KafkaError, OSError, ValueError):
                if admin is not None:
                    admin.close()
                admin = None

    def _step(self, admin):
        from kafka.admin import NewTopic
        there = [name for name, state in self.known.items() if state == "there"]
        if len(there) >= self.most:
            self._note(there[0], "unknown")
            admin.delete_topics([there[0]])
            self._note(there[0], "gone")
        else:
            self.made += 1
            name = f"churn-{self.made}"
            self._note(name, "unknown")
            admin.create_topics([NewTopic(name, 2, 1)])
            self._note(name, "there")

    def _note(self, name, state):
        with self.lock:
            self.known[name] = state

    def check(self, bootstrap):
        """What the broker's list of topics contradicts."""
        from kafka import KafkaAdminClient
        with self.lock:
            before = dict(self.known)
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        names = set(admin.list_topics())
        admin.close()
        with self.lock:
            sure = {name: state for name, state in before.items() if self.known[name] == state}
        lost = [name for name, state in sure.items() if state == "there" and name not in names]
        back = [name for name, state in sure.items() if state == "gone" and name in names]
        return [f"topic {n} was made and is not there" for n in lost] + [f"topic {n} was deleted and is there" for n in back]

    def end(self):
        self.ends.set()
        self.thread.join(20)
