"""Brokers under test: starts and ends Ottla and Apache Kafka the same way.

Owns free ports, scratch directories and processes. Ends only what it started, also when the
script is interrupted. Knows nothing about what is tested.
"""

import atexit
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA = ROOT / "tests" / "peers" / "kafka"
OTTLA = pathlib.Path(os.environ.get("OTTLA_BIN", ROOT / "target" / "release" / "ottla"))
CACHE = pathlib.Path(os.environ.get("OTTLA_CACHE", pathlib.Path.home() / ".cache" / "ottla"))
# What clients and case files expect of either broker, unless a script says otherwise.
SETTINGS = {"auto.create.topics.enable": "true", "num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0"}
_started, _scratch, _at_end = [], [], []


class Failed(Exception):
    """Something the scripts need did not work; the text is for the reader."""


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def free_ports(count):
    """First of `count` consecutive loopback ports free just now (below the ephemeral range)."""
    for _ in range(200):
        first = random.randrange(20000, 32000 - count)
        if all(_free(first + i) for i in range(count)):
            return first
    raise Failed("no free ports")


def _free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def scratch(name):
    """A directory of this run, removed at the end unless OTTLA_KEEP is set."""
    base = os.environ.get("OTTLA_SCRATCH")
    if base:
        pathlib.Path(base).mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix=f"ottla-{name}-", dir=base))
    _scratch.append(made)
    return made


def at_end(run):
    """Called when the script ends and all brokers are gone; the last one first."""
    _at_end.append(run)


class Broker:
    """One broker process on its own port and directory."""

    kind = ""

    def __init__(self, directory, settings=None, cpus=None, shards=1, environment=None):
        self.environment = environment or {}
        self.dir = pathlib.Path(directory)
        self.settings = SETTINGS | (settings or {})
        self.cpus, self.shards, self.pid = cpus, shards, None
        self.port = free_ports(max(2, shards))
        self.bootstrap = f"127.0.0.1:{self.port}"

    def start(self):
        say(f"starting {self.kind} on {self.bootstrap}")
        began = time.monotonic()
        if self not in _started:
            _started.append(self)
        self._start()
        say(f"{self.kind} is up after {time.monotonic() - began:.2f} s, pid {self.pid}")
        return self

    def alive(self):
        if self.pid is None:
            return False
        if self._child() is not None:
            return self._child().poll() is None
        # A zombie that nobody has collected yet counts as gone.
        try:
            stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError, IndexError):
            return False

    def stop(self, timeout=90):
        """SIGTERM and wait; a broker that does not go is killed, and that is a failure."""
        if not self.alive():
            self.pid = None
            return
        os.kill(self.pid, signal.SIGTERM)
        if self._gone(timeout):
            self.pid = None
            if self._child() is not None and self._child().returncode:
                raise Failed(f"{self.kind} answered SIGTERM with exit code {self._child().returncode}:\n{self.tail()}")
            return
        self.kill()
        raise Failed(f"{self.kind} did not stop within {timeout} s of SIGTERM")

    def kill(self):
        """SIGKILL, and wait until the process is gone."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            if not self._gone(30):
                raise Failed(f"{self.kind} survived SIGKILL")
        self.pid = None

    def _gone(self, timeout):
        end = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def _child(self):
        return None

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def cpu_seconds(self):
        """User and system time of all its threads so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tail(self, lines=15):
        """The end of its log, for a failure's reader."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


class Kafka(Broker):
    kind = "kafka"

    def __init__(self, *args, heap="512m", **kwargs):
        super().__init__(*args, **kwargs)
        self.heap, self.log = heap, self.dir / "server.log"

    def _start(self):
        command = [KAFKA, "start", "--port", str(self.port), "--dir", self.dir, "--heap", self.heap]
        command += [f"{k}={v}" for k, v in self.settings.items()]
        env = os.environ | self.environment | ({"CPUS": str(self.cpus)} if self.cpus else {})
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, text=True)
        try:
            self.pid = int((self.dir / "pid").read_text())
        except (FileNotFoundError, ValueError):
            pass
        if done.returncode:
            raise Failed(f"kafka did not start:\n{done.stderr}{self.tail()}")


class Ottla(Broker):
    kind = "ottla"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.log, self.process, self.ready = self.dir.with_name(self.dir.name + ".log"), None, ""

    def _child(self):
        return self.process

    def _start(self):
        if not OTTLA.exists():
            raise Failed(f"{OTTLA} is missing: build it with `cargo build --release`")
        # The data directory itself is made by the broker, which has to make its name durable.
        self.dir.parent.mkdir(parents=True, exist_ok=True)
        command = ["taskset", "-c", str(self.cpus)] if self.cpus else []
        command += [OTTLA, "serve", "--data", self.dir, "--host", "127.0.0.1", "--port", str(self.port),
                    "--shards", str(self.shards)]
        for key, value in self.settings.items():
            command += ["-o", f"{key}={value}"]
        with open(self.log, "ab") as log:
            at = log.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=os.environ | self.environment)
        self.pid = self.process.pid
        end = time.monotonic() + 60
        while not self._ready(at):
            if self.process.poll() is not None:
                raise Failed(f"ottla ended with {self.process.returncode} at its start:\n{self.tail()}")
            if time.monotonic() > end:
                self.kill()
                raise Failed(f"ottla was not ready after 60 s:\n{self.tail()}")
            time.sleep(0.005)

    def _ready(self, at):
        """Whether the line that says so has come since this start."""
        with open(self.log, "rb") as log:
            log.seek(at)
            for line in log:
                if line.startswith(b"ready ") and line.endswith(b"\n"):
                    self.ready = line.decode().strip()
                    return True
        return False


KINDS = {"ottla": Ottla, "kafka": Kafka}


def broker(kind, directory, **kwargs):
    return KINDS[kind](pathlib.Path(directory) / kind, **kwargs)


def _end_all():
    for b in _started:
        try:
            b.stop(timeout=20)
        except (Failed, OSError) as error:
            print(error, file=sys.stderr)
    for run in reversed(_at_end):
        try:
            run()
        except (Failed, OSError) as error:
            print(error, file=sys.stderr)
    # Only now: nobody writes there any more, and nothing is mounted there.
    for made in _scratch if not os.environ.get("OTTLA_KEEP") else []:
        shutil.rmtree(made, ignore_errors=True)


def _interrupted(number, _frame):
    sys.exit(128 + number)


atexit.register(_end_all)
signal.signal(signal.SIGTERM, _interrupted)
signal.signal(signal.SIGHUP, _interrupted)


def main(run):
    """Runs a script's main function; a `Failed` becomes one line and exit code 1."""
    try:
        sys.exit(run())
    except Failed as error:
        print(f"FAIL {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
