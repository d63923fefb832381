"""Runs named checks and prints a line for each: `ok NAME` or `FAIL NAME: why`."""

import os
import sys
import time
import traceback

BOOTSTRAP = os.environ.get("BOOTSTRAP", "127.0.0.1:9092")
RUN = f"{int(time.time() * 1000) % 10**9}"
WAIT = 20.0


class Wrong(Exception):
    pass


def same(what, wanted, got):
    if wanted != got:
        raise Wrong(f"{what}: {str(got)[:200]} where {str(wanted)[:200]} was expected")


def within(what, seconds, most):
    if seconds > most:
        raise Wrong(f"{what} took {seconds:.2f} s, {most} at most")


def run(prefix, checks):
    """Each check is (name, function of a topic name); the exit code says whether all held."""
    red = 0
    for name, check in checks:
        try:
            check(f"{prefix}-{name}-{RUN}")
            print(f"ok {name}", flush=True)
        except Exception as error:
            red += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"FAIL {name}: {why} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)
    sys.exit(1 if red else 0)
