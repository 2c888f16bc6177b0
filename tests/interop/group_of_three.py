"""A group of three processes on six partitions: one leaves, one is killed, one comes back; nothing is lost.

usage: group_of_three.py [member TOPIC GROUP [INSTANCE]]      (a member prints what it gets as JSON lines)
"""

import json
import signal
import subprocess
import sys
import threading
import time

from common import ADMIN, SECONDS_MAX, check, committed, consumer, new_topic, producer, unique

PARTITIONS = 6
# The least that the broker lets a member ask for, so that the killed one is missed soon.
SESSION_TIMEOUT_MS = 6000


def member(topic, group, strategy, instance):
    def say(**what):
        print(json.dumps(what), flush=True)

    def assigned(reader, partitions):
        if strategy == "cooperative-sticky":
            reader.incremental_assign(partitions)
        say(assignment=sorted(p.partition for p in reader.assignment() or partitions))

    def revoked(reader, partitions):
        if strategy == "cooperative-sticky":
            reader.incremental_unassign(partitions)
            say(assignment=sorted(p.partition for p in reader.assignment()))
        else:
            say(assignment=[])

    settings = {"partition_assignment_strategy": strategy, "session_timeout_ms": SESSION_TIMEOUT_MS,
                "heartbeat_interval_ms": 300}
    if instance:
        settings["group_instance_id"] = instance
    reader = consumer(group, **settings)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    reader.subscribe([topic], on_assign=assigned, on_revoke=revoked)
    while not stopping.is_set():
        message = reader.poll(0.1)
        if message is None:
            continue
        if message.error():
            say(error=str(message.error()))
            continue
        say(value=message.value().decode(), partition=message.partition(), offset=message.offset())
        reader.commit(message, asynchronous=False)
    reader.close()
    say(closed=True)


class Member:
    """A member in a process of its own, and what it has said."""

    def __init__(self, topic, group, strategy, instance=""):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "member", topic, group, strategy, instance], stdout=subprocess.PIPE, text=True)
        self.assignment, self.values, self.errors = None, [], []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "assignment" in said:
                self.assignment = said["assignment"]
            elif "value" in said:
                self.values.append(said["value"])
            elif "error" in said:
                self.errors.append(said["error"])

    def leave(self):
        self.process.terminate()
        self.process.wait(SECONDS_MAX)

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS_MAX)


def eventually(what, condition, members):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if condition():
            print(f"ok: {what}", flush=True)
            return
        time.sleep(0.02)
    state = [(m.assignment, len(m.values), m.errors) for m in members]
    print(f"WRONG: {what} not within {SECONDS_MAX} s: assignments, counts and errors {state}", flush=True)
    for each in members:
        each.process.poll() is None and each.kill()
    sys.exit(1)


def shared_out(members):
    """Every partition has one owner, and the shares are even."""
    shares = [each.assignment or [] for each in members]
    even = all(len(share) == PARTITIONS // len(members) for share in shares)
    return even and sorted(sum(shares, [])) == list(range(PARTITIONS))


def scenario(strategy):
    topic, group = new_topic("group3", PARTITIONS), unique("group3")
    feed, sent = producer(), 0
    everyone = []

    def send(count):
        nonlocal sent
        for number in range(sent, sent + count):
            feed.produce(topic, str(number), partition=number % PARTITIONS)
        sent += count
        check(f"{strategy}: {count} messages sent", feed.flush(SECONDS_MAX), 0)

    def join(instance=""):
        everyone.append(Member(topic, group, strategy, instance))
        return everyone[-1]

    def all_read():
        return {int(v) for m in everyone for v in m.values} == set(range(sent))

    first = join()
    eventually(f"{strategy}: one member has all", lambda: shared_out([first]), everyone)
    second, third = join(), join()
    eventually(f"{strategy}: three share", lambda: shared_out([first, second, third]), everyone)
    send(600)
    eventually(f"{strategy}: three read everything", all_read, everyone)
    described = ADMIN.describe_consumer_groups([group])[group].result(SECONDS_MAX)
    check(f"{strategy}: the group is described", (described.state.name, len(described.members)), ("STABLE", 3))
    second.leave()
    eventually(f"{strategy}: two share after one left", lambda: shared_out([first, third]), everyone)
    send(600)
    eventually(f"{strategy}: two read everything", all_read, everyone)
    third.kill()
    eventually(f"{strategy}: one has all after one was killed", lambda: shared_out([first]), everyone)
    send(600)
    eventually(f"{strategy}: one reads everything", all_read, everyone)
    fourth = join()
    eventually(f"{strategy}: two share after one came", lambda: shared_out([first, fourth]), everyone)
    send(60)
    eventually(f"{strategy}: they read everything", all_read, everyone)
    first.leave()
    fourth.leave()
    counts = [value for each in everyone for value in each.values]
    # Each is committed before the next is read, so only the last one of the member that was killed may come twice.
    check(f"{strategy}: at most one message came twice", len(counts) - sent <= 1, True)
    ends = [committed(group, topic, number) for number in range(PARTITIONS)]
    check(f"{strategy}: the committed offsets are the ends", ends, [sent // PARTITIONS] * PARTITIONS)


def static_members():
    """A static member that restarts within its session gets its partitions back with no rebalance for the other."""
    topic, group = new_topic("static", PARTITIONS), unique("static")
    everyone = [Member(topic, group, "range", f"instance-{number}") for number in range(2)]
    eventually("static: two share", lambda: shared_out(everyone), everyone)
    kept, before = everyone[0].assignment, everyone[1].assignment
    # A static member does not leave the group when it closes.
    everyone[1].leave()
    back = Member(topic, group, "range", "instance-1")
    everyone.append(back)
    eventually("static: it has its partitions back", lambda: back.assignment == before, everyone)
    check("static: the other kept its own", everyone[0].assignment, kept)
    everyone[0].leave()
    back.leave()


if len(sys.argv) > 1:
    member(*sys.argv[2:])
else:
    for protocol in ("range", "cooperative-sticky"):
        scenario(protocol)
    static_members()
