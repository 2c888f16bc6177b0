"""What the compatibility suite asks of every client. A scenario is a function over one client; it raises if something is wrong.

Each makes topics and groups of its own, so that clients may go through the list side by side.
"""

import concurrent.futures
import random
import string
import threading
import time

import common
from common import BOOTSTRAP, new_topic, unique
from fleet import CLIENTS, Broken, Program, Refused
from proxy import Proxy
from reasons import CANNOT, LEAVES_OUT

POLL_MS = 20_000
SCENARIOS = {}

TOPIC_ALREADY_EXISTS, UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, NON_EMPTY_GROUP = 36, 3, 40, 68
# How a producer is told that another has taken its place, or that its transaction is over: INVALID_PRODUCER_EPOCH,
# INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, and librdkafka's own _FENCED and _STATE.
FENCED = {47, 48, 49, 90, -144, -172}


class Wrong(Exception):
    """A client saw something else than it should have."""


def scenario(section, title):
    """Puts a function onto the list, under its name."""
    def register(function):
        SCENARIOS[function.__name__] = (section, title, function)
        return function
    return register


def equal(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: got {shortened(got)}, wanted {shortened(wanted)}")


def shortened(thing):
    text = repr(thing)
    return text if len(text) < 600 else f"{text[:300]} … {text[-300:]}"


def refused(what, codes, do):
    """Runs what the broker must refuse with one of these codes."""
    try:
        do()
    except Refused as no:
        if no.code not in codes:
            raise Wrong(f"{what}: {no}, wanted one of {sorted(codes)}") from None
        return
    raise Wrong(f"{what}: done, wanted one of {sorted(codes)}")


def read(program, topic, count, isolation="read_committed", **where):
    """That many records of partition 0 through a client; fewer if there are no more."""
    name = unique("reader")
    program.do("consumer", name=name, isolation=isolation)
    program.do("assign", name=name, topic=topic, partition=0, **where)
    records = program.do("poll", name=name, count=count, ms=POLL_MS)["records"]
    program.do("close", name=name)
    return records


def values(records):
    return [record["value"] for record in records]


def write(topic, texts, **config):
    """Values into partition 0, by the suite's own client."""
    writer = common.producer(**config)
    for text in texts:
        writer.produce(topic, text, partition=0)
    equal("written", writer.flush(common.SECONDS_MAX), 0)


class Use:
    """One client in one scenario; `fleet` has a program for each client."""

    def __init__(self, client, fleet):
        self.client, self.fleet = client, fleet

    @property
    def program(self):
        return self.fleet[self.client]

    def do(self, command, **fields):
        return self.program.do(command, **fields)

    def leaves_out(self, name):
        return name in LEAVES_OUT.get(self.client, {})

    def other(self, shift, name):
        """Another client, a different one for each shift, that can do the scenario of this name."""
        ring = list(CLIENTS)
        at = ring.index(self.client)
        for step in range(len(ring)):
            client = ring[(at + 1 + shift + step) % len(ring)]
            if client != self.client and client in self.fleet and name not in CANNOT.get(client, {}):
                return self.fleet[client]
        return self.program


# ---------------------------------------------------------------- administration

@scenario("Administration", "create, describe, grow and delete a topic")
def topics(use):
    topic = unique("topics")
    use.do("create_topic", topic=topic, partitions=3, config={"retention.ms": "3600000"})
    equal("partitions", use.do("describe_topic", topic=topic)["partitions"], 3)
    refused("a second topic of the name", {TOPIC_ALREADY_EXISTS},
            lambda: use.do("create_topic", topic=topic, partitions=3, config={}))
    use.do("grow_topic", topic=topic, partitions=5)
    equal("partitions after growing", use.do("describe_topic", topic=topic)["partitions"], 5)
    use.do("delete_topic", topic=topic)
    refused("deleting it again", {UNKNOWN_TOPIC_OR_PARTITION}, lambda: use.do("delete_topic", topic=topic))


@scenario("Administration", "describe, set and unset a topic's configuration")
def configs(use):
    topic = new_topic("configs", retention_ms=3_600_000)

    def seen(key):
        return use.do("describe_config", topic=topic)["config"][key]

    equal("a value given at creation", seen("retention.ms"), "3600000")
    use.do("alter_config", topic=topic, config={"max.message.bytes": "2000000"})
    equal("a value that was set", seen("max.message.bytes"), "2000000")
    equal("another one after that", seen("retention.ms"), "3600000")
    use.do("alter_config", topic=topic, config={"max.message.bytes": None})
    equal("a value that was unset", seen("max.message.bytes"), "1048588")
    if use.leaves_out("configs"):
        use.do("alter_config", topic=topic, config={"retention.ms": "soon"})
    else:
        refused("a bad value", {INVALID_CONFIG}, lambda: use.do("alter_config", topic=topic, config={"retention.ms": "soon"}))
    equal("a bad value changes nothing", seen("retention.ms"), "3600000")


@scenario("Administration", "delete records")
def delete_records(use):
    topic = new_topic("deleted")
    write(topic, [str(number) for number in range(10)])
    equal("the log's start", use.do("delete_records", topic=topic, partition=0, before=4)["low"], 4)
    equal("offsets", use.do("offsets", topic=topic, partition=0), {"earliest": 4, "latest": 10})
    equal("what is left", values(read(use.program, topic, 6, offset=4)), [str(number) for number in range(4, 10)])


@scenario("Administration", "describe a group, list its offsets, delete it")
def groups(use):
    topic, group = new_topic("groups"), unique("groups")
    write(topic, [str(number) for number in range(10)])
    member = subscribed(use, topic, group)
    equal("records", len(use.do("poll", name=member, count=10, ms=POLL_MS)["records"]), 10)
    use.do("poll", name=member, count=0, ms=0, commit=True)
    described = use.do("describe_group", group=group)
    equal("a group with a member", (described["state"].upper(), described["members"]), ("STABLE", 1))
    if not use.leaves_out("groups"):
        refused("a group with members is not deleted", {NON_EMPTY_GROUP}, lambda: use.do("delete_group", group=group))
    use.do("close", name=member)
    described = use.do("describe_group", group=group)
    equal("a group without", (described["state"].upper(), described["members"]), ("EMPTY", 0))
    equal("its offsets", use.do("group_offsets", group=group, topic=topic)["offsets"], {"0": 10})
    if not use.leaves_out("groups"):
        use.do("delete_group", group=group)
        equal("the offset is gone", common.committed(group, topic), -1001)


# ---------------------------------------------------------------- records

def mixed_records(topic):
    """Headers, no key, no value, a megabyte, and many that compress well."""
    dice = random.Random(topic)
    large = "".join(dice.choices(string.ascii_letters, k=1_000_000))
    headers = [["colour", "blue"], ["colour", "green"], ["empty", ""]]
    first = [
        {"key": "k1", "value": "first", "headers": headers},
        {"key": None, "value": "without a key", "headers": []},
        {"key": "k1", "value": None, "headers": []},
        {"key": "café", "value": "日本語 ☕", "headers": [["sprache", "größe"]]},
    ]
    many = [{"key": f"k{number}", "value": f"a line that compresses well {number}", "headers": []} for number in range(200)]
    all_ = [*first, *many, {"key": "large", "value": large, "headers": []}]
    return [{"topic": topic, "partition": 0, "timestamp": 1_700_000_000_000 + at, **record} for at, record in enumerate(all_)]


def comes_back(writer, reader, codec):
    topic, name = new_topic(f"codec.{codec}"), unique("writer")
    records = mixed_records(topic)
    writer.do("producer", name=name, compression=codec)
    writer.do("send", name=name, records=records)
    writer.do("close", name=name)
    got = read(reader, topic, len(records))
    fields = ["key", "value", "headers"] + ([] if writer.client == "kcat" else ["timestamp"])
    what = f"{codec} from {writer.client} to {reader.client}"
    equal(f"{what}: offsets", [record["offset"] for record in got], list(range(len(records))))
    for sent, record in zip(records, got):
        equal(what, [record[field] for field in fields], [sent[field] for field in fields])


def compression(codec, shift):
    def both_ways(use):
        other = use.other(shift, f"compression_{codec}")
        comes_back(use.program, other, codec)
        comes_back(other, use.program, codec)

    both_ways.__name__ = f"compression_{codec}"
    title = f"compression {codec}: headers, null keys, tombstones, 1 MB values, to another client and from it"
    scenario("Records", title)(both_ways)


for at, codec in enumerate(("none", "gzip", "snappy", "lz4", "zstd")):
    compression(codec, at)


@scenario("Records", "consume a partition from the beginning and from an offset")
def consume_by_assignment(use):
    topic = new_topic("assigned", 2)
    write(topic, [str(number) for number in range(20)])
    equal("from the beginning", values(read(use.program, topic, 20)), [str(number) for number in range(20)])
    equal("from an offset", values(read(use.program, topic, 5, offset=15)), [str(number) for number in range(15, 20)])
    equal("offsets", use.do("offsets", topic=topic, partition=0), {"earliest": 0, "latest": 20})


@scenario("Records", "consume from a time")
def consume_by_time(use):
    topic = new_topic("timed")
    writer = common.producer()
    for number in range(10):
        writer.produce(topic, str(number), timestamp=1_600_000_000_000 + 1000 * number)
    equal("written", writer.flush(common.SECONDS_MAX), 0)
    got = read(use.program, topic, 4, time=1_600_000_000_000 + 5500)
    equal("from between two records", values(got), ["6", "7", "8", "9"])


# ---------------------------------------------------------------- groups

def subscribed(use, topic, group, **config):
    name = unique("member")
    use.do("consumer", name=name, group=group, **config)
    use.do("subscribe", name=name, topic=topic)
    return name


@scenario("Groups", "consume in a group, and go on where it stopped")
def consume_by_group(use):
    topic, group = new_topic("grouped"), unique("grouped")
    for texts in (["1", "2", "3"], ["4", "5"]):
        write(topic, texts)
        member = subscribed(use, topic, group)
        equal("read", values(use.do("poll", name=member, count=len(texts), ms=POLL_MS)["records"]), texts)
        use.do("poll", name=member, count=0, ms=0, commit=True)
        use.do("close", name=member)


class Member:
    """A group's member in a process of its own, which polls and commits until it is told to stop."""

    def __init__(self, client, topic, group, **config):
        self.program = Program(client, BOOTSTRAP)
        self.topic, self.group, self.config = topic, group, config
        self.assignment, self.values, self.failure = [], set(), None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)

    def join(self):
        self.thread.start()

    def _work(self):
        try:
            self.program.do("consumer", name="member", group=self.group, **self.config)
            self.program.do("subscribe", name="member", topic=self.topic)
            while not self.stopping.is_set():
                answer = self.program.do("poll", name="member", count=1000, ms=200, commit=True)
                self.values.update(values(answer["records"]))
                self.assignment = answer["assignment"]
            self.program.do("poll", name="member", count=0, ms=0, commit=True)
            self.program.do("close", name="member")
        except (Refused, Broken) as failure:
            self.failure = failure
        self.assignment = []

    def leave(self):
        self.stopping.set()
        self.thread.join()
        self.program.kill()

    def crash(self):
        self.program.kill()
        self.thread.join()
        self.failure = None


class Feed:
    """Numbers into all partitions of a topic, until it is stopped."""

    def __init__(self, topic, partitions):
        self.topic, self.partitions, self.count = topic, partitions, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        writer = common.producer()
        while not self.stopping.wait(0.02):
            writer.produce(self.topic, str(self.count), partition=self.count % self.partitions)
            self.count += 1
        writer.flush(common.SECONDS_MAX)

    def stop(self):
        self.stopping.set()
        self.thread.join()


def wait_until(what, members, holds):
    deadline = time.monotonic() + 40
    while not holds():
        for member in members:
            if member.failure:
                raise Wrong(f"{what}: {member.failure}")
        if time.monotonic() > deadline:
            complaints = "\n".join(member.program.complaints() for member in members)
            raise Wrong(f"{what}: not so after 40 s: {[member.assignment for member in members]}\n{complaints}")
        time.sleep(0.02)


def rebalances(use, **config):
    """Three join, one leaves, one is killed: each partition has one owner each time, and no record is lost."""
    partitions = 6
    topic, group = new_topic("rebalanced", partitions), unique("rebalanced")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        everyone = list(pool.map(lambda _: Member(use.client, topic, group, **config), range(3)))
    stays, leaves, crashes = everyone
    feed = Feed(topic, partitions)

    def shared_by(*members):
        def holds():
            owned = [list(member.assignment) for member in members]
            return sorted(sum(owned, [])) == list(range(partitions)) and all(owned)
        return holds

    try:
        stays.join()
        wait_until("one member owns all", everyone, shared_by(stays))
        leaves.join()
        crashes.join()
        wait_until("three share all", everyone, shared_by(*everyone))
        leaves.leave()
        wait_until("two share all", [stays, crashes], shared_by(stays, crashes))
        crashes.crash()
        wait_until("the last one owns all", [stays], shared_by(stays))
        feed.stop()
        wanted = {str(number) for number in range(feed.count)}
        wait_until("no record is lost", [stays], lambda: set().union(*(member.values for member in everyone)) == wanted)
        stays.leave()
    finally:
        feed.stop()
        for member in everyone:
            member.program.kill()


@scenario("Groups", "rebalance: joins, a leave, a crash; no record lost, each partition with one owner")
def rebalance(use):
    rebalances(use, strategy="range")


@scenario("Groups", "the same with the cooperative assignor")
def cooperative_rebalance(use):
    rebalances(use, strategy="cooperative")


@scenario("Groups", "the same with `group.protocol=consumer` (KIP-848)")
def consumer_protocol(use):
    rebalances(use, protocol="consumer")


# ---------------------------------------------------------------- idempotence and transactions

@scenario("Idempotence and transactions", "idempotent producer while connections are cut: each record once, in order")
def idempotence(use):
    topic, name, cut = new_topic("cut"), unique("cut"), (2, 5, 6, 9)
    proxy = Proxy(BOOTSTRAP, cut)
    records = [{"topic": topic, "partition": 0, "key": None, "value": str(number)} for number in range(150)]
    try:
        use.do("producer", name=name, idempotent=True, bootstrap=proxy.bootstrap)
        # kcat tells its records apart by itself: one run is one producer.
        at_once = len(records) if use.client == "kcat" else 10
        for at in range(0, len(records), at_once):
            use.do("send", name=name, records=records[at:at + at_once])
        use.do("close", name=name)
        equal("answers lost", proxy.lost, len(cut))
    finally:
        proxy.close()
    read_back = common.read_all(topic)
    equal("records", common.values(read_back), [record["value"] for record in records])
    equal("offsets", [message.offset() for message in read_back], list(range(len(records))))


def transaction(use, name, topic, texts, end):
    use.do("begin", name=name)
    use.do("send", name=name, records=[{"topic": topic, "partition": 0, "key": None, "value": text} for text in texts])
    use.do(end, name=name)


@scenario("Idempotence and transactions", "transactions commit and abort")
def commit_and_abort(use):
    topic, name = new_topic("transactions"), unique("transactions")
    use.do("producer", name=name, transactional_id=name)
    for number in range(6):
        transaction(use, name, topic, [f"{number}.0", f"{number}.1"], "abort" if number % 3 == 1 else "commit")
    use.do("close", name=name)
    wanted = [f"{number}.{at}" for number in (0, 2, 3, 5) for at in (0, 1)]
    equal("read committed", values(read(use.program, topic, len(wanted))), wanted)
    everything = [f"{number}.{at}" for number in range(6) for at in (0, 1)]
    equal("read uncommitted", values(read(use.program, topic, len(everything), "read_uncommitted")), everything)
    equal("read committed by librdkafka", common.values(common.read_settled(topic)), wanted)


@scenario("Idempotence and transactions", "a second producer of the transactional id fences the first")
def fencing(use):
    topic, identity = new_topic("fenced"), unique("fenced")
    first, second = unique("first"), unique("second")
    use.do("producer", name=first, transactional_id=identity)
    use.do("begin", name=first)
    use.do("send", name=first, records=[{"topic": topic, "partition": 0, "key": None, "value": "of the first"}])
    use.do("producer", name=second, transactional_id=identity)
    transaction(use, second, topic, ["of the second"], "commit")
    refused("the first commits", FENCED, lambda: use.do("commit", name=first))
    equal("read committed", values(read(use.program, topic, 1)), ["of the second"])
    use.do("close", name=second)


@scenario("Idempotence and transactions", "a transaction that takes too long is aborted; its producer is told")
def transaction_timeout(use):
    topic, identity = new_topic("late"), unique("late")
    late, next_ = unique("late"), unique("next")
    use.do("producer", name=late, transactional_id=identity, transaction_timeout_ms=1000)
    use.do("begin", name=late)
    use.do("send", name=late, records=[{"topic": topic, "partition": 0, "key": None, "value": "late"}])
    write(topic, ["plain"])
    equal("what stood behind it is read", values(read(use.program, topic, 1)), ["plain"])
    refused("the commit comes too late", FENCED, lambda: use.do("commit", name=late))
    use.do("producer", name=next_, transactional_id=identity)
    transaction(use, next_, topic, ["next"], "commit")
    equal("the next producer goes on", values(read(use.program, topic, 2)), ["plain", "next"])
    use.do("close", name=next_)


@scenario("Idempotence and transactions", "consume, transform, produce: offsets in the transaction, across an abort")
def consume_transform_produce(use):
    count, at_once = 60, 20
    source, output, group, identity = new_topic("source"), new_topic("output"), unique("ctp"), unique("ctp")
    write(source, [f"message {number}" for number in range(count)])
    done, rounds = 0, 0
    while done < count:
        producer, consumer = unique("producer"), unique("consumer")
        use.do("session", name=producer, consumer=consumer, group=group, topic=source, transactional_id=identity)
        # The second round aborts, and its records come again. Then the same clients go on.
        for end in {0: ["commit"], 1: ["abort"]}.get(rounds, ["commit"] * 2):
            polled = use.do("poll", name=consumer, count=at_once, ms=POLL_MS)["records"]
            equal(f"round {rounds} reads", values(polled), [f"message {number}" for number in range(done, done + at_once)])
            use.do("begin", name=producer)
            use.do("send", name=producer, records=[
                {"topic": output, "partition": 0, "key": None, "value": record["value"].upper()} for record in polled])
            use.do("send_offsets", name=producer, consumer=consumer, offsets=[[source, 0, polled[-1]["offset"] + 1]])
            use.do(end, name=producer)
            done += at_once if end == "commit" else 0
        use.do("close", name=consumer)
        use.do("close", name=producer) if use.client != "franz-go" else None
        equal("the group's offset", common.committed(group, source), done)
        rounds += 1
    equal("each once, in order", common.values(common.read_settled(output)), [f"MESSAGE {number}" for number in range(count)])


LONG_RUN = {"lock": threading.Lock(), "topic": None}


def long_aborted_runs():
    """A topic of long aborted runs, written once for all."""
    with LONG_RUN["lock"]:
        if LONG_RUN["topic"] is None:
            topic = new_topic("aborted")
            writer = common.transactional(unique("aborted"))
            for number in range(62):
                writer.begin_transaction()
                for at in range(50):
                    writer.produce(topic, f"{number}.{at}", partition=0)
                writer.flush(common.SECONDS_MAX)
                (writer.commit_transaction if number % 31 == 30 else writer.abort_transaction)(common.SECONDS_MAX)
            LONG_RUN["topic"] = topic
        return LONG_RUN["topic"]


@scenario("Idempotence and transactions", "read committed over long aborted runs")
def read_committed(use):
    wanted = [f"{number}.{at}" for number in (30, 61) for at in range(50)]
    equal("read committed", values(read(use.program, long_aborted_runs(), len(wanted))), wanted)
