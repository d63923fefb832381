"""Client programs that scripts use, fetched or built once into the cache: Python packages, node
packages, the Rust client; and Debian's packages. Knows no broker."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from brokers import CACHE, ROOT, Failed, say

CLIENTS = ROOT / "tests" / "clients"


def _run(command, **kwargs):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}:\n{done.stdout[-3000:]}")


def debian(*packages):
    """Installs those of the packages that are missing; elsewhere than on Debian it trusts what is there."""
    if not shutil.which("dpkg-query"):
        return
    state = lambda p: subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", p], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    if missing := [p for p in packages if state(p) != "installed"]:
        say(f"installing {' '.join(missing)}")
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        _run([*root, "apt-get", "update", "-qq"])
        _run([*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def java():
    """A JDK, and Maven to fetch Kafka's jars with."""
    for program, package in (("javac", "openjdk-17-jdk-headless"), ("mvn", "maven")):
        if not shutil.which(program):
            debian(package)


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def python():
    """A Python with the packages of tests/clients/python/requirements.txt."""
    wanted = CLIENTS / "python" / "requirements.txt"
    home = CACHE / f"python-{sys.version_info[0]}.{sys.version_info[1]}-{_digest(wanted)}"
    if not (home / ".ok").exists():
        say("fetching the Python clients (once)")
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", home])
        _run([home / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted])
        (home / ".ok").touch()
    return home / "bin" / "python"


def with_python_clients():
    """Goes on in the Python that has the clients, if this one is another."""
    wanted = python()
    if pathlib.Path(sys.prefix) != wanted.parents[1]:
        os.execv(wanted, [str(wanted), *sys.argv])


def node_modules():
    """NODE_PATH with the packages of tests/clients/node/package.json."""
    source = CLIENTS / "node"
    home = CACHE / f"node-{_digest(source / 'package-lock.json')}"
    if not (home / ".ok").exists():
        say("fetching the node clients (once)")
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, home)
        _run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=home)
        (home / ".ok").touch()
    return home / "node_modules"


def rdkafka():
    """The program of tests/clients/rdkafka."""
    return _cargo(CLIENTS / "rdkafka", "rdkafka-client", "rdkafka-target")


def powercut():
    """The file system of tests/fuse."""
    return _cargo(ROOT / "tests" / "fuse", "powercut", "powercut-target")


def _cargo(source, name, target):
    target = CACHE / target
    program = target / "release" / name
    newest = max(p.stat().st_mtime for p in [source / "Cargo.lock", *source.glob("src/*.rs")])
    if not program.exists() or program.stat().st_mtime < newest:
        say(f"building {name} (the first time some minutes)")
        debian("g++", "make")
        _run(["cargo", "build", "-q", "--release", "--locked", "--manifest-path", source / "Cargo.toml"],
             env=os.environ | {"CARGO_TARGET_DIR": str(target)})
        program.touch()
    return program


def clock_shift():
    """The library of tests/clock."""
    source = ROOT / "tests" / "clock" / "shift.c"
    library = CACHE / f"clock-shift-{_digest(source)}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, source])
    return library
