"""Every client through every scenario of scenarios.py; writes interop/compatibility.json, of which docs/compatibility.md is made.

CLIENTS=… and SCENARIOS=… (comma-separated) choose, and VERBOSE=1 tells the times; then nothing is written.
"""

import concurrent.futures
import json
import os
import sys
import time
import traceback

import fleet
import scenarios
from common import BOOTSTRAP
from reasons import CANNOT, FAILS, LEAVES_OUT

PASS, CANNOT_DO, FAILS_KNOWN, WRONG = "pass", "cannot", "fails", "wrong"
# The machine has two cores, and clients wait more than they work.
AT_ONCE = 9


def chosen(variable, all_):
    wanted = os.environ.get(variable, "").split(",") if os.environ.get(variable) else list(all_)
    if unknown := set(wanted) - set(all_):
        sys.exit(f"{variable}: no such {', '.join(sorted(unknown))}; there are {', '.join(all_)}")
    return [one for one in all_ if one in wanted]


def outcome(client, name, programs):
    """The cell of one client and scenario."""
    if reason := CANNOT.get(client, {}).get(name):
        return {"outcome": CANNOT_DO, "reason": reason}
    known = FAILS.get(client, {}).get(name)
    if not programs[client].is_alive():
        programs[client] = fleet.Program(client, BOOTSTRAP)
    try:
        scenarios.SCENARIOS[name][2](scenarios.Use(client, programs))
    except Exception as failure:
        if known:
            return {"outcome": FAILS_KNOWN, "reason": known}
        said = "" if isinstance(failure, (scenarios.Wrong, fleet.Refused, fleet.Broken)) else traceback.format_exc()
        return {"outcome": WRONG, "reason": f"{type(failure).__name__}: {failure}\n{said}{programs[client].complaints()}"}
    if known:
        return {"outcome": WRONG, "reason": f"it passes: take it out of reasons.py ({known})"}
    note = LEAVES_OUT.get(client, {}).get(name)
    return {"outcome": PASS, **({"reason": note} if note else {})}


def column(client, names, programs):
    """All cells of one client."""
    cells = {}
    for name in names:
        started = time.monotonic()
        cells[name] = outcome(client, name, programs)
        if os.environ.get("VERBOSE"):
            print(f"{time.monotonic() - started:6.1f} s  {client}: {name}: {cells[name]['outcome']}", flush=True)
    return cells


def main():
    clients, names = chosen("CLIENTS", fleet.CLIENTS), chosen("SCENARIOS", scenarios.SCENARIOS)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        programs = dict(zip(clients, pool.map(lambda client: fleet.Program(client, BOOTSTRAP), clients)))
        columns = dict(zip(clients, pool.map(lambda client: column(client, names, programs), clients)))
    wrong = 0
    for client in clients:
        passed = sum(cell["outcome"] == PASS for cell in columns[client].values())
        print(f"ok: {client} {programs[client].identity['version']}: {passed} of {len(names)}", flush=True)
        for name, cell in columns[client].items():
            if cell["outcome"] == WRONG:
                wrong += 1
                print(f"WRONG: {client}, {name}: {cell['reason']}", flush=True)
        programs[client].kill()
    if not (wrong or os.environ.get("CLIENTS") or os.environ.get("SCENARIOS")):
        seen = {
            "clients": {client: programs[client].identity["version"] for client in clients},
            "scenarios": [{"name": name, "section": scenarios.SCENARIOS[name][0], "title": scenarios.SCENARIOS[name][1],
                           "cells": {client: columns[client][name] for client in clients}} for name in names],
        }
        (fleet.INTEROP / "compatibility.json").write_text(json.dumps(seen, indent=1))
    sys.exit(1 if wrong else 0)


main()
