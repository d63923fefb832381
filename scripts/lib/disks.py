"""Disks that misbehave on purpose: a small file system on a loop device, a file system that forgets what was
not flushed, and a clock that is wrong. Mounted and unmounted here, also when the script fails. Needs root.
"""

import os
import pathlib
import queue
import subprocess
import threading
import time

import brokers
import tools
from brokers import Failed

LOOP_BYTES = 400 << 20


def _run(*command):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout.strip()}")


def _unmount(place):
    """A ring that the kernel has not yet taken apart may hold the mount for a moment."""
    for _ in range(100):
        if not os.path.ismount(place) or subprocess.run(["umount", place], stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", place])


class Loop:
    """A file system of 400 MB in a file, with a ballast that fills it and a topic that can go."""

    def __init__(self, kind, scratch):
        self.place, self.ballast = scratch / kind, scratch / kind / "ballast"
        self.fillers, self.made = [], 0
        if os.geteuid() != 0:
            raise Failed("loop mounts need root")
        tools.debian("xfsprogs" if kind == "xfs" else "e2fsprogs", "mount")
        image = scratch / f"{kind}.img"
        with open(image, "wb") as file:
            file.truncate(LOOP_BYTES)
        _run(f"mkfs.{kind}", "-q", *(["-m", "0", "-F"] if kind == "ext4" else []), image)
        self.place.mkdir()
        brokers.at_end(lambda: _unmount(self.place))
        _run("mount", "-o", "loop", image, self.place)

    def free_bytes(self):
        about = os.statvfs(self.place)
        return about.f_bavail * about.f_frsize

    def fill(self, leave=256 << 10):
        """All but a little goes to the ballast; what comes from the broker fills the rest."""
        want = self.free_bytes() - leave
        if want < 4 << 20:
            return False
        with open(self.ballast, "ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), want)
        return True

    def empty(self):
        self.ballast.unlink(missing_ok=True)

    def make_topic(self, bootstrap, count=16):
        """A topic of some MiB that nobody needs."""
        from kafka import KafkaAdminClient, KafkaProducer
        from kafka.admin import NewTopic
        self.made += 1
        name = f"filler-{self.made}"
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic(name, 1, 1)])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=1 << 20)
        for _ in range(count):
            producer.send(name, b"x" * 900_000, partition=0)
        producer.flush(60)
        producer.close()
        self.fillers.append(name)

    def delete_topic(self, bootstrap):
        """Deletes the last of them on the full disk; says what went wrong."""
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError
        before, name = self.free_bytes(), self.fillers.pop()
        try:
            admin = KafkaAdminClient(bootstrap_servers=bootstrap)
            admin.delete_topics([name], timeout_ms=20_000)
            gone = name not in admin.list_topics()
            admin.close()
        except KafkaError as error:
            return [f"the topic could not be deleted: {type(error).__name__} {error}"]
        return [] if gone else [f"{name} was deleted and is there ({before} bytes free before)"]


class Layer:
    """The file system that forgets: tests/fuse, told what to do through its standard input."""

    def __init__(self, scratch, seed):
        self.place, self.lines = scratch / "powercut", queue.Queue()
        self.place.mkdir()
        brokers.at_end(self.end)
        self.process = subprocess.Popen([tools.powercut(), self.place, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, daemon=True).start()
        self._say(None, "mounted")

    def _listen(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put("")

    def _say(self, command, answer, timeout=60):
        """Gives a command and waits for its answer; what it says meanwhile is passed over."""
        if command:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        while True:
            line = self.lines.get(timeout=timeout)
            if line.startswith(answer):
                return line
            if not line:
                raise Failed(f"the file system ended with {self.process.wait()}")

    def arm(self, operations, of):
        self.process.stdin.write(f"arm {operations} {of}\n")
        self.process.stdin.flush()

    def wait_out(self, timeout):
        """The operation before which the power failed, or None when it has not."""
        try:
            return self._say(None, "out", timeout).split()[1]
        except queue.Empty:
            return None

    def cut(self):
        """What was lost; the place is mounted again."""
        return {key: int(value) for key, _, value in (word.partition("=") for word in self._say("cut", "cut").split()[1:])}

    def save(self, to):
        self._say(f"save {to}", "saved")

    def end(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _unmount(self.place)


class Clock:
    """Shifts the wall clock of processes started with its environment (tests/clock)."""

    def __init__(self, scratch):
        self.library, self.file = tools.clock_shift(), scratch / "clock"
        self.set_hours(0)

    def environment(self):
        return {"LD_PRELOAD": str(self.library), "CLOCK_SHIFT": str(self.file)}

    def set_hours(self, hours):
        # Same length each time, in one write: a reader never sees a mixture.
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(b"%+020d" % round(hours * 3600))
