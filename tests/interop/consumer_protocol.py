"""Groups of the new protocol (KIP-848) with librdkafka and Java, on a broker of its own that is killed on the way:
members join, leave and die, topics grow and appear, static members restart, live groups change their protocol.

usage: consumer_protocol.py [member TOPIC GROUP PROTOCOL [INSTANCE]]   (a member prints what it gets as JSON lines)
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

PARTITIONS = 6
SECONDS_MAX = 60


def member(topic, group, protocol, instance=""):
    import confluent_kafka as kafka

    def say(**what):
        print(json.dumps(what), flush=True)

    settings = {"bootstrap.servers": os.environ["BOOTSTRAP"], "group.id": group, "group.protocol": protocol,
                "enable.auto.commit": False, "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 1000}
    if protocol == "classic":
        settings.update({"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000,
                         "heartbeat.interval.ms": 300})
    if instance:
        settings["group.instance.id"] = instance
    reader = kafka.Consumer(settings)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    reader.subscribe([topic])
    said = None
    while not stopping.is_set():
        message = reader.poll(0.1)
        assigned = sorted([p.topic, p.partition] for p in reader.assignment())
        if assigned != said:
            say(assignment=assigned)
            said = assigned
        if message is None:
            continue
        if message.error():
            say(error=str(message.error()))
            continue
        say(value=message.value().decode())
        try:
            reader.commit(message, asynchronous=False)
        except kafka.KafkaException as late:
            say(late=str(late))
    reader.close()
    say(closed=True)


if len(sys.argv) > 1:
    member(*sys.argv[2:])
    sys.exit(0)

from broker import Broker

BROKER = Broker(os.environ["TIDEMILL"], "--config-set", "group.consumer.session.timeout.ms=6000",
                "--config-set", "group.consumer.heartbeat.interval.ms=300")
BROKER.start()
os.environ.update(BOOTSTRAP=BROKER.bootstrap, ADMIN_URL=BROKER.admin)

from confluent_kafka import ConsumerGroupState, ConsumerGroupType
from confluent_kafka.admin import NewPartitions

from common import ADMIN, check, new_topic, producer, unique
from programs import JAVA, JVM

COMMANDS = {
    "librdkafka": [sys.executable, __file__, "member"],
    "java": ["java", *JVM, "-cp", f"{JAVA}/classes:{JAVA}/lib/*", "tidemill.interop.Member"],
}


class Member:
    """A member in a process of its own, and what it has said."""

    def __init__(self, client, topic, group, protocol="consumer", instance=""):
        self.process = subprocess.Popen(COMMANDS[client] + [topic, group, protocol, instance],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.assignment, self.values, self.errors = None, [], []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "assignment" in said:
                self.assignment = [tuple(each) for each in said["assignment"]]
            elif "value" in said:
                self.values.append(said["value"])
            elif "closed" not in said:
                self.errors.append(said)

    def leave(self):
        self.process.terminate()
        self.process.wait(SECONDS_MAX)

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS_MAX)


EVERYONE = []


def eventually(what, condition):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if condition():
            print(f"ok: {what}", flush=True)
            return
        time.sleep(0.02)
    state = [(m.assignment, len(m.values), m.errors[-3:], m.process.poll()) for m in EVERYONE]
    print(f"WRONG: {what} not within {SECONDS_MAX} s: assignments, counts and errors {state}\n{BROKER.log_tail()}",
          flush=True)
    end(1)


def end(status):
    for each in EVERYONE:
        each.process.poll() is None and each.kill()
    BROKER.remove()
    sys.exit(status)


class Scenario:
    """A group on a topic, and what was sent to it."""

    def __init__(self, what, partitions=PARTITIONS):
        self.what, self.partitions = what, partitions
        self.topic, self.group = new_topic(what.replace(" ", "-"), partitions), unique("group")
        self.sent, self.members = 0, []

    def join(self, client, protocol="consumer", instance="", topic=None):
        joined = Member(client, topic or self.topic, self.group, protocol, instance)
        EVERYONE.append(joined)
        self.members.append(joined)
        return joined

    def send(self, count):
        feed = producer()
        for number in range(self.sent, self.sent + count):
            feed.produce(self.topic, str(number), partition=number % self.partitions)
        self.sent += count
        check(f"{self.what}: {count} messages are sent", feed.flush(SECONDS_MAX), 0)

    def all_read(self, by):
        eventually(f"{self.what}: everything is read {by}",
                   lambda: {int(v) for m in self.members for v in m.values} == set(range(self.sent)))

    def shared(self, when, *members):
        def is_shared():
            shares = [each.assignment or [] for each in members]
            even = max(map(len, shares)) - min(map(len, shares)) <= 1
            return even and sorted(sum(shares, [])) == [(self.topic, number) for number in range(self.partitions)]

        eventually(f"{self.what}: {len(members)} share {when}", is_shared)

    def listed(self):
        groups = ADMIN.list_consumer_groups(request_timeout=SECONDS_MAX).result(SECONDS_MAX)
        found = [each for each in groups.valid if each.group_id == self.group]
        return [(each.type, each.state) for each in found]

    def leave(self):
        for each in self.members:
            if each.process.poll() is None:
                each.leave()


def life_of_a_group(what, clients):
    group = Scenario(what)
    first = group.join(clients[0])
    group.shared("at first", first)
    second, third = group.join(clients[1]), group.join(clients[2])
    group.shared("when two more have come", first, second, third)
    group.send(300)
    group.all_read("by three")
    check(f"{what}: it is a stable consumer group", group.listed(),
          [(ConsumerGroupType.CONSUMER, ConsumerGroupState.STABLE)])
    second.leave()
    group.shared("when one has left", first, third)
    third.kill()
    group.shared("when one was killed", first)
    fourth = group.join(clients[1])
    group.shared("when one has come", first, fourth)
    ADMIN.create_partitions([NewPartitions(group.topic, 9)])[group.topic].result(SECONDS_MAX)
    group.partitions = 9
    group.shared("when the topic has grown", first, fourth)
    group.send(300)
    group.all_read("by two")
    BROKER.kill()
    BROKER.start()
    group.send(300)
    group.all_read("after the broker was killed")
    fifth = group.join(clients[2])
    group.shared("when one has come after that", first, fourth, fifth)
    group.leave()
    values = [value for each in EVERYONE for value in each.values if each in group.members]
    # Each is committed before the next is read: a member that is killed and the broker's end leave one each behind.
    check(f"{what}: next to nothing came twice", len(values) - group.sent <= 6, True)


def static_members(what, client):
    group = Scenario(what)
    other, one = group.join(client, instance="other"), group.join(client, instance="one")
    group.shared("at first", other, one)
    kept, before = other.assignment, one.assignment
    one.leave()
    back = group.join(client, instance="one")
    eventually(f"{what}: it has its partitions back", lambda: back.assignment == before)
    check(f"{what}: the other kept its own", other.assignment, kept)
    group.leave()


def topics_by_expression(what, client):
    group = Scenario(what, 2)
    reader = group.join(client, topic=f"^{group.topic}.*")
    eventually(f"{what}: the topic is found", lambda: reader.assignment == [(group.topic, 0), (group.topic, 1)])
    later = new_topic(group.topic, 1)
    eventually(f"{what}: so is one that comes later", lambda: (later, 0) in reader.assignment)
    group.leave()


def changes_its_protocol(what, client):
    group = Scenario(what)
    old = [group.join("librdkafka", protocol="classic"), group.join("librdkafka", protocol="classic")]
    group.shared("by the classic protocol", *old)
    group.send(120)
    group.all_read("by classic members")
    new = group.join(client)
    group.shared("when one of the new protocol has come", *old, new)
    check(f"{what}: it is a consumer group", [kind for kind, _ in group.listed()], [ConsumerGroupType.CONSUMER])
    group.send(120)
    group.all_read("by members of both protocols")
    new.leave()
    group.shared("when that one has left", *old)
    check(f"{what}: it is a classic group again", [kind for kind, _ in group.listed()], [ConsumerGroupType.CLASSIC])
    newer = group.join(client)
    for each in old:
        each.leave()
    group.shared("when all are of the new protocol", newer)
    group.send(120)
    group.all_read("by the new protocol alone")
    group.leave()
    values = [value for each in group.members for value in each.values]
    check(f"{what}: nothing came twice", len(values), group.sent)


def main():
    life_of_a_group("librdkafka", ["librdkafka"] * 3)
    life_of_a_group("java", ["java"] * 3)
    life_of_a_group("java and librdkafka", ["librdkafka", "java", "librdkafka"])
    for client in COMMANDS:
        static_members(f"static {client}", client)
        topics_by_expression(f"expression {client}", client)
        changes_its_protocol(f"migration to {client}", client)
    BROKER.stop()
    end(0)


main()
