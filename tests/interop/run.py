#!/usr/bin/env python3
"""Runs every scenario of this directory against one broker, several at once, and prints a table of PASS and FAIL.

A scenario is a program (kcat_*.sh, or *.py with confluent-kafka) that finds the broker in BOOTSTRAP and, if it wants
them, its admin API in ADMIN_URL, its binary in TIDEMILL and what was built for the tests (guests/, interop/) in
TARGET. It makes topics of its own, checks what it sees ("ok: …", "did: …" for figures) and ends 0 only if all of it was
right. When all have run, the pages that tell of them must be up to date (pages.py).

usage: run.py BINARY [--write-pages] [SCENARIO...]      (make interop does the set-up)
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time

from broker import Broker

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_MAX = 420
# The machine has two cores, and scenarios wait more than they work.
AT_ONCE = 3
NOT_SCENARIOS = {"run.py", "common.py", "broker.py", "jvm.py", "programs.py", "proxy.py", "raw_log.py", "fleet.py", "scenarios.py",
                 "reasons.py", "pages.py", "dump_directory.py", "kafka_server.py", "import_data.py"}
# The longest begin first.
FIRST = ("compatibility", "streams", "import_log", "kafka_tools", "interceptors")
# So that a group is there at once, and what takes too long or is gone is soon found.
OPTIONS = {
    "group.initial.rebalance.delay.ms": 0,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.heartbeat.interval.ms": 500,
}


def scenarios(wanted):
    found = sorted((p for p in HERE.iterdir() if p.suffix in (".sh", ".py") and p.name not in NOT_SCENARIOS),
                   key=lambda p: (FIRST.index(p.stem) if p.stem in FIRST else len(FIRST), p.stem))
    chosen = [p for p in found if not wanted or p.stem in wanted]
    if not chosen:
        sys.exit(f"no such scenario; there are {', '.join(p.stem for p in found)}")
    return chosen


def run(path, broker):
    """Whether it passed, and all that it said; prints its line."""
    started = time.monotonic()
    good, said = outcome(path, broker)
    checks = sum(line.startswith("ok: ") for line in said.splitlines())
    done = "".join(f"\n      {line.removeprefix('did: ')}" for line in said.splitlines() if line.startswith("did: "))
    print(f"{'PASS' if good else 'FAIL'}  {path.stem:24} {checks:4} checks {time.monotonic() - started:6.1f} s{done}", flush=True)
    if not good:
        print(f"--- {path.stem} said\n{said}\n--- the broker said\n{broker.log_tail()}\n---", flush=True)
    return good


def outcome(path, broker):
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


def pages(wanted, write):
    """Whether the pages are up to date, if all scenarios have run."""
    if wanted:
        return True
    done = subprocess.run([sys.executable, str(HERE / "pages.py"), "write" if write else "check"])
    return done.returncode == 0


def main():
    binary, *rest = sys.argv[1:]
    write, wanted = "--write-pages" in rest, {name for name in rest if name != "--write-pages"}
    broker = Broker(binary, *(part for key, value in OPTIONS.items() for part in ("--config-set", f"{key}={value}")))
    try:
        broker.start()
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            good = list(pool.map(lambda path: run(path, broker), scenarios(wanted)))
        if broker.process.poll() is not None:
            sys.exit(f"the broker ended with status {broker.process.returncode}\n{broker.log_tail()}")
        broker.stop()
    finally:
        broker.remove()
    if all(good) and not pages(wanted, write):
        good.append(False)
    print(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    sys.exit(0 if all(good) else 1)


main()
