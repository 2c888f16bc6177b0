#!/usr/bin/env python3
"""Runs every scenario of this directory against one broker, and prints a table of PASS and FAIL.

A scenario is a program (kcat_*.sh, or *.py with confluent-kafka) that finds the broker in BOOTSTRAP and, if it wants
them, its admin API in ADMIN_URL, its binary in TIDEMILL and what was built for the tests (guests/, interop/) in
TARGET. It makes topics of its own, checks what it sees and ends 0 only if all of it was right.

usage: run.py BINARY [SCENARIO...]      (make interop does the set-up)
"""

import os
import pathlib
import subprocess
import sys
import time

from broker import Broker

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 180
NOT_SCENARIOS = {"run.py", "common.py", "broker.py", "programs.py", "proxy.py", "raw_log.py"}


def scenarios(wanted):
    found = sorted(p for p in HERE.iterdir() if p.suffix in (".sh", ".py") and p.name not in NOT_SCENARIOS)
    chosen = [p for p in found if not wanted or p.stem in wanted]
    if not chosen:
        sys.exit(f"no such scenario; there are {', '.join(p.stem for p in found)}")
    return chosen


def run(path, broker):
    """Whether it passed, and all that it said."""
    environment = dict(
        os.environ, BOOTSTRAP=broker.bootstrap, ADMIN_URL=broker.admin, TIDEMILL=os.path.abspath(broker.binary),
        TARGET=str(HERE.parents[1] / "target"),
    )
    command = ["bash", str(path)] if path.suffix == ".sh" else [sys.executable, str(path)]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=SECONDS_MAX,
        )
        return done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as late:
        return False, (late.stdout or b"").decode(errors="replace") + f"\nnot done after {SECONDS_MAX} s"


def main():
    binary, wanted = sys.argv[1], set(sys.argv[2:])
    passed = failed = 0
    broker = Broker(binary)
    try:
        broker.start()
        for path in scenarios(wanted):
            started = time.monotonic()
            good, said = run(path, broker)
            passed, failed = passed + good, failed + (not good)
            checks = sum(line.startswith("ok: ") for line in said.splitlines())
            outcome = "PASS" if good else "FAIL"
            print(f"{outcome}  {path.stem:24} {checks:4} checks {time.monotonic() - started:6.1f} s", flush=True)
            if not good:
                print(f"--- {path.stem} said\n{said}\n--- the broker said\n{broker.log_tail()}\n---", flush=True)
            if broker.process.poll() is not None:
                sys.exit(f"the broker ended with status {broker.process.returncode} during {path.stem}")
        broker.stop()
    finally:
        broker.remove()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
