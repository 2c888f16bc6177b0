"""The part of the kill loop with a processor that has state, timers and two outputs: `retry-later`.

Movements of accounts come before and after the record that opens their account, some accounts are never opened, and some
records are no movements at all. Whatever is killed when: each amount is booked once or given up once, an account's
balances follow from one another by amounts that were sent, the state is its last balances, and the dead letters are the
bad records, which a replay, killed as well, sends back once.
"""

import collections
import json
import pathlib
import subprocess
import time

MOVEMENTS, BALANCES, GIVEN_UP, LETTERS = "movements", "balances", "given-up", "ledger.dlq"
PARTITIONS = {MOVEMENTS: 2, BALANCES: 2, GIVEN_UP: 2, LETTERS: 2}
PATIENCE_SECONDS = 120
# An account has so many records of a partition: one opens it, unless it is one of those that are never opened.
ACCOUNT_RECORDS, OPENED_AT, NEVER_OPENED = 30, 8, 5
POISON = 40


def movement(name):
    """Key and value of a movement: an amount that no other has, `open`, or what is none."""
    number = int(name.rsplit("-", 1)[1])
    partition, turn = number % PARTITIONS[MOVEMENTS], number // PARTITIONS[MOVEMENTS]
    account, place = divmod(turn, ACCOUNT_RECORDS)
    key = f"account-{partition}-{account}"
    if number % POISON == POISON - 1:
        return key, f"{number} pieces of gold"
    if place == OPENED_AT and account % NEVER_OPENED != NEVER_OPENED - 1:
        return key, "open"
    return key, str(number + 1 if number % 3 else -number - 1)


# Its dead letters come back unchanged: that as many fail then as are read is no reason to pause.
MANIFEST = """
name = "ledger"
module = "retry-later"
inputs = ["movements"]
outputs = ["balances", "given-up"]
start = "earliest"
stores = ["balances"]
timers = true
config = { first-wait-ms = "20", tries = "5" }
commit = { interval_ms = 20 }
on_error = { retries = 0, breaker = { failures_percent = 0 } }
"""


def deploy(broker):
    manifest = pathlib.Path(broker.directory) / "ledger.toml"
    manifest.write_text(MANIFEST)
    broker.command("processor", "deploy", "--file", str(manifest))


class Sent:
    """What was sent, by account."""

    def __init__(self, names):
        self.amounts, self.opened = collections.defaultdict(list), set()
        self.poison = []
        for key, value in map(movement, names):
            if value == "open":
                self.opened.add(key)
            elif " " in value:
                self.poison.append(value)
            else:
                self.amounts[key].append(int(value))
        self.poison.sort()
        self.effects = sum(map(len, self.amounts.values())) + len(self.opened)


def settled(sent, read_pairs):
    """Waits until every movement has had its effect; then what there is to read."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        balances, given_up = read_pairs(BALANCES), read_pairs(GIVEN_UP)
        if len(balances) + len(given_up) >= sent.effects:
            return balances, given_up
        if time.monotonic() > give_up:
            raise RuntimeError(f"{len(balances)} balances and {len(given_up)} given up do not become {sent.effects}")
        time.sleep(0.1)


def problems(sent, balances, given_up, state):
    """What is wrong, in words."""
    by_account = collections.defaultdict(list)
    for key, value in balances:
        by_account[key].append(int(value))
    effects = collections.defaultdict(collections.Counter)
    for key, value in given_up:
        effects[key][int(value)] += 1
    found = []
    for key, seen in by_account.items():
        if seen[0] != 0:
            found.append(f"{key} begins at {seen[0]}")
        effects[key].update(after - before for before, after in zip(seen, seen[1:]))
    for key, amounts in sent.amounts.items():
        expected = collections.Counter(amounts)
        for what, amount in [("lost", expected - effects[key]), ("twice", effects[key] - expected)]:
            found += [f"{what}: {amount} of {key}" for amount in amount.elements()]
    if set(by_account) != sent.opened:
        found.append(f"{len(by_account)} accounts have balances, {len(sent.opened)} were opened")
    last = {key: seen[-1] for key, seen in by_account.items()}
    if state != last:
        wrong = [key for key in state.keys() | last.keys() if state.get(key) != last.get(key)]
        found.append(f"the state of {len(wrong)} accounts is not their last balance: {wrong[:5]}")
    return found


def state_of(broker):
    """The store as it is committed."""
    shown = broker.command("state", "scan", "ledger", "balances", "--value-format", "counter",
                           "--limit", "10000", "--format", "json")
    return {entry["key"]: int(entry["value"]) for entry in json.loads(shown)["entries"]}


def replay(broker, kills, chance):
    """Sends the dead letters back, while the broker is killed a few times; how often a replay had to begin again."""
    environment = broker.environment()
    again = 0
    while True:
        command = [broker.binary, "dlq", "replay", LETTERS, "--batch", "3"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kills > 0:
            time.sleep(chance.uniform(0.05, 0.6))
            kills -= 1
            broker.kill()
            process.kill()
            process.wait()
            broker.start()
            again += 1
        elif process.wait(PATIENCE_SECONDS) == 0:
            return again
        else:
            raise RuntimeError("a replay that nobody disturbs fails")
