"""Other people's test suites, brought from the crate registry and built once into the cache: librdkafka's
test program, rskafka's and rdkafka's integration tests. Each offers `names` and `run(name)`."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import tools
from brokers import CACHE, KAFKA, ROOT, Failed, say

HOME = CACHE / "suites"
CRATES = {"rdkafka-sys": "=4.10.0", "rdkafka": "=0.39.0", "rskafka": "=0.6.0"}
GROUP_APIS = {"JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup", "OffsetCommit", "OffsetFetch", "DescribeGroups",
              "ListGroups", "DeleteGroups", "OffsetDelete", "ConsumerGroupHeartbeat", "ConsumerGroupDescribe"}
TXN_APIS = {"AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "TxnOffsetCommit", "WriteTxnMarkers", "DescribeTransactions", "ListTransactions"}


def _run(command, log, **kwargs):
    with open(log, "w") as out:
        if subprocess.run(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, **kwargs).returncode:
            raise Failed(f"{' '.join(map(str, command))} failed: {log}\n{pathlib.Path(log).read_text()[-1500:]}")


def source(crate):
    """The crate's own source folder, unpacked by cargo."""
    manifest = HOME / "fetch" / "Cargo.toml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    (manifest.parent / "src").mkdir(exist_ok=True)
    (manifest.parent / "src" / "lib.rs").touch()
    rows = "".join(f'{name} = "{version}"\n' for name, version in CRATES.items())
    manifest.write_text(f'[package]\nname = "suites"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n{rows}')
    done = subprocess.run(["cargo", "metadata", "--format-version", "1", "--manifest-path", manifest], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"cargo cannot fetch the suites: {done.stderr[-500:]}")
    return next(pathlib.Path(p["manifest_path"]).parent for p in json.loads(done.stdout)["packages"] if p["name"] == crate)


def _timed(command, seconds, **kwargs):
    """Output and exit code; None when it did not end in time (then its whole process group is killed)."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
    try:
        return process.communicate(timeout=seconds)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        return process.communicate()[0], None


class Librdkafka:
    """Numbers of librdkafka's own tests, each in a process of its own (a failure aborts the program).

    `0081/do_test_DeleteRecords` is one sub-test of a number."""

    name, settings = "librdkafka", {"num.partitions": "4", "group.initial.rebalance.delay.ms": "3000"}
    shards, folder, port = 1, "librdkafka", None
    packages = ("gcc", "g++", "make", "zlib1g-dev", "libssl-dev", "libsasl2-dev", "libzstd-dev", "libcurl4-openssl-dev", "rapidjson-dev")

    def __init__(self, scratch, timeout):
        self.home, self.scratch, self.timeout = HOME / "librdkafka-2.12.1", scratch, timeout
        if not (self.home / ".ok").exists():
            tools.debian(*self.packages)
            say("building librdkafka's test program (once; some minutes)")
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.copytree(source("rdkafka-sys") / "librdkafka", self.home)
            logs = [HOME / f"librdkafka-{step}.out" for step in ("configure", "libs", "tests")]
            _run(["./configure"], logs[0], cwd=self.home)
            _run(["make", f"-j{os.cpu_count()}", "libs"], logs[1], cwd=self.home)
            _run(["make", f"-j{os.cpu_count()}", "-C", "tests", "build"], logs[2], cwd=self.home)
            (self.home / ".ok").touch()
        tools.java()
        subprocess.run([KAFKA, "wrappers", scratch / "kafka"], check=True)
        self._list()

    def _list(self):
        """Which tests there are: those that ask a broker; and the parts of which they consist."""
        text = (self.home / "tests" / "test.c").read_text()
        rows = re.findall(r"^ {4}_TEST\((\w+),((?:.*\n)+?)(?= {4}_TEST| {4}/\*|\s*\n|\})", text, re.M)
        ours = {test: flags for test, flags in rows if "_LOCAL" not in flags and "_MANUAL" not in flags}
        # Those of another scenario, which are skipped here, do not make a number fail that has more.
        self.filtered = {test for test, flags in rows if test not in ours or "scenario" in flags}
        self.known_issues = {test[:4] for test, flags in ours.items() if re.search(r"KNOWN_ISSUE\b", flags)}
        self.whole = sorted({test[:4] for test in ours})
        self.names = self.whole + [f"{number}/{part}" for number in self.whole for part in self._parts(number)]

    def _parts(self, number):
        found, function = [], None
        for file in sorted((self.home / "tests").glob(f"{number}-*.c*")):
            for line in file.read_text().splitlines():
                if head := re.match(r"(?:\w[\w:]* \*?)*(\w+)\(", line):
                    function = head[1]
                elif re.match(r"\s+SUB_TEST(_QUICK)?\(", line) and function and function not in found:
                    found.append(function)
        return found

    def prepare(self, bootstrap):
        self.bootstrap = bootstrap
        (self.scratch / "test.conf").write_text(f"bootstrap.servers={bootstrap}\nbroker.address.family=v4\ntest.topic.random=true\n")

    def run(self, name):
        number, _, part = name.partition("/")
        env = os.environ | {"LD_LIBRARY_PATH": "../src:../src-cpp", "TEST_KAFKA_VERSION": "4.0.0.0", "TEST_LEVEL": "1", "TESTS": number,
                            "RDKAFKA_TEST_CONF": str(self.scratch / "test.conf"), "BROKERS": self.bootstrap,
                            "KAFKA_PATH": str(self.scratch / "kafka")} | ({"SUBTESTS": f"{part}:"} if part else {})
        command = ["./test-runner", "-p1", "-L"] + (["-k"] if number in self.known_issues else [])
        output, code = _timed(command, self.timeout, cwd=self.home / "tests", env=env)
        plain = re.sub(r"\x1b\[[0-9;]*m|\033\([A-Z]", "", output)
        if code is None:
            return "timeout", plain
        return self._verdict(number, part, code, plain), plain

    def _verdict(self, number, part, code, plain):
        states = re.findall(rf"\|\s+({number}\w*)\s+\|\s+(\w+)\s+\|", plain)
        states = [state for test, state in states if test not in self.filtered]
        if code != 0 or not states or "FAILED" in states:
            return "failed"
        if part:
            return "passed" if re.search(rf"\[ {part}:.*: PASS ", plain) and not re.search(rf"\[ {part}:.*: SKIP", plain) else "skipped"
        return "passed" if set(states) == {"PASSED"} else "skipped"


class CargoSuite:
    """Integration tests of a crate, each in a process of its own."""

    shards, port = 1, None

    def __init__(self, scratch, timeout):
        self.home, self.timeout = HOME / self.name, timeout
        if not (self.home / ".ok").exists():
            say(f"building the tests of {self.name} (once; some minutes)")
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.copytree(source(self.name), self.home)
            for pinned_toolchain in self.home.glob("rust-toolchain*"):
                pinned_toolchain.unlink()
            # Outside any workspace, whatever folder the cache is in.
            with open(self.home / "Cargo.toml", "a") as manifest:
                manifest.write("\n[workspace]\n" if "[workspace]" not in (self.home / "Cargo.toml").read_text() else "")
            for update in self.updates:
                _run(["cargo", "update", "-p", update], HOME / f"{self.name}-update.out", cwd=self.home)
            _run(self._cargo("--no-run"), HOME / f"{self.name}-build.out", cwd=self.home)
            (self.home / ".ok").touch()
        self.programs = {}
        built = subprocess.run(self._cargo("--no-run", "--message-format=json"), cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in built.stdout.splitlines():
            made = json.loads(line)
            if made.get("executable") and made.get("profile", {}).get("test") and "test" in made["target"]["kind"]:
                self._list(made["target"]["name"], made["executable"])
        self.names = self.whole = sorted(self.programs)

    def _cargo(self, *more):
        return ["cargo", "test", *self.targets, *more]

    def _list(self, target, program):
        if target == "utils":
            return
        listed = subprocess.run([program, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, cwd=self.home).stdout
        for line in listed.splitlines():
            if line.endswith(": test") and not line.startswith("utils::"):
                self.programs[f"{target}::{line[:-6]}"] = (program, line[:-6])

    def prepare(self, bootstrap):
        self.env = os.environ | {k: v.format(bootstrap) for k, v in self.environment.items()}

    def run(self, name):
        program, test = self.programs[name]
        output, code = _timed([program, "--exact", test, "--test-threads=1", "--nocapture"], self.timeout, cwd=self.home, env=self.env)
        if code is None:
            return "timeout", output
        if code:
            return "failed", output
        return ("passed" if "1 passed" in output else "skipped"), output


class Rskafka(CargoSuite):
    name, folder, updates = "rskafka", "rskafka", ["rsasl"]
    targets = ["--test", "client", "--test", "consumer", "--test", "producer"]
    environment = {"TEST_INTEGRATION": "1", "TEST_BROKER_IMPL": "kafka", "KAFKA_CONNECT": "{}"}
    # One test asks for a topic that must not come to be.
    settings = {"num.partitions": "4", "auto.create.topics.enable": "false"}


class Rdkafka(CargoSuite):
    """Expects one broker with node id 0, three default partitions, and (in one test) port 9092."""

    name, folder, updates = "rdkafka", "rdkafka-suite", []
    targets = ["--tests"]
    environment = {"KAFKA_HOST": "{}", "KAFKA_VERSION": "4.0"}
    settings = {"num.partitions": "3"}
    port = 9092


SUITES = {suite.name: suite for suite in (Librdkafka, Rskafka, Rdkafka)}


def needs(apis):
    """What a test needs beyond produce, fetch and topics: words for the table."""
    # A consumer without a group still asks for its coordinator, and can live without an answer.
    found = set(apis)
    return [word for word, keys in (("groups", GROUP_APIS), ("transactions", TXN_APIS)) if found & keys] or (["coordinator"] if "FindCoordinator" in found else [])


def pinned(folder):
    path = ROOT / "tests" / "clients" / folder / "passing.txt"
    return path, [line.split()[0] for line in _rows(path)]


def left_out(folder):
    """Tests that are not pinned, and why not."""
    path = ROOT / "tests" / "clients" / folder / "left-out.txt"
    return path, dict(line.split(" ", 1) for line in _rows(path))


def _rows(path):
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")] if path.exists() else []
