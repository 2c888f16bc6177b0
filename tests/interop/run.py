"""Runs every scenario with the clients that we did not write, against one broker of ours.

usage: run.py BINARY [PART OF A NAME]      (make interop does the set-up)
"""

import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import kcat_scenarios  # noqa: E402
import python_scenarios  # noqa: E402
from broker import Broker  # noqa: E402


def main():
    binary, wanted = sys.argv[1], (sys.argv[2:] or [""])[0]
    broker = Broker(binary)
    failed = passed = 0
    try:
        broker.start()
        for client, module in (("kcat", kcat_scenarios), ("confluent-kafka", python_scenarios)):
            for scenario in module.SCENARIOS:
                if wanted not in scenario.__name__:
                    continue
                name, started = scenario.__name__.replace("_", " "), time.monotonic()
                try:
                    scenario(broker)
                    passed, outcome = passed + 1, "PASS"
                except Exception:
                    failed, outcome = failed + 1, "FAIL"
                    traceback.print_exc()
                print(f"{outcome}  {time.monotonic() - started:5.1f} s  {client}: {name}", flush=True)
        if failed:
            print(broker.log_tail())
        else:
            broker.stop()
    finally:
        broker.remove()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
