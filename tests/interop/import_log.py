"""`tidemill import-log`: what Apache Kafka has written becomes topics of ours, and a client notices nothing.

A real Kafka is filled (import_data.py), and all that clients see of it is remembered. Its log directory is imported after
a kill -9, with a torn end, and again after an orderly stop; a topic is imported by its partitions' directories. Each time
clients must see the same as in Kafka, and then go on where they were. What is refused must leave everything as it was.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import raw_log
from broker import Broker
from common import check
from dump_directory import dumped
from import_data import (BUSY, BUSY_PARTITIONS, GROUPS, MEMBER_SESSION_MS, SECONDS_MAX, TOPICS, Busy, Side, Written, look,
                         protocol_of)
from kafka_server import KafkaServer

TIDEMILL, METADATA = os.environ["TIDEMILL"], "__cluster_metadata-0"


class Ours(Broker):
    """A broker of ours on a directory into which is imported."""

    def __init__(self):
        super().__init__(TIDEMILL, "--config-set", "group.initial.rebalance.delay.ms=0",
                         "--config-set", f"group.consumer.session.timeout.ms={MEMBER_SESSION_MS}")
        self.data = pathlib.Path(self.directory) / "data"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and os.path.exists(self.log_path):
            print(f"--- the broker said\n{self.log_tail()}", flush=True)
        self.remove()

    def side(self):
        return Side(self.bootstrap)

    def run_import(self, *arguments):
        command = [TIDEMILL, "import-log", "--data-dir", str(self.data), "--format", "json", *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TIDEMILL_")}
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def imports(self, *arguments):
        done = self.run_import(*arguments)
        if done.returncode != 0:
            print(f"WRONG: import-log {arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}", flush=True)
            sys.exit(1)
        return json.loads(done.stdout)

    def refuses(self, what, parts, *arguments):
        """That the import is refused in these words, and that the directory is as it was."""
        before = contents(self.data)
        done = self.run_import(*arguments)
        said = done.stdout + done.stderr
        missing = [part for part in map(str, parts) if part not in said]
        check(f"{what}: refused", (done.returncode != 0, missing and (missing, said)), (True, []))
        # A directory that was not there is there now, with a metadata log in which nothing is.
        new = [] if before else [f"{METADATA}/00000000000000000000.log"]
        check(f"{what}: nothing has changed", [name for name in changes(before, contents(self.data)) if name not in new], [])


def contents(directory):
    """Every file's hash, but of what an import opens to see which topics there are: the journal, and the metadata's indexes."""
    files = {path.relative_to(directory): path for path in directory.rglob("*") if path.is_file()}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
            if name.parts[0] not in ("journal", ".lock") and (name.parts[0] != METADATA or name.suffix == ".log")}


def partitions_in(directory):
    return sorted({path.parent.name for path in directory.glob("*/*.log")} - {METADATA})


def changes(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def stamps(directory):
    """Of files that are large and mostly holes: their sizes and times of change."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(directory.rglob("*")) if path.is_file()}


def same(what, got, wanted):
    """One line for all that was looked at."""
    wrong = [f"{key}: {shown(got.get(key))} instead of {shown(wanted[key])}" for key in wanted if got.get(key) != wanted[key]]
    if wrong:
        print(f"WRONG: {what}, {len(wrong)} of {len(wanted)} answers differ\n  " + "\n  ".join(wrong[:20]), flush=True)
        sys.exit(1)
    records = sum(len(value) for key, value in wanted.items() if key.endswith("at read_uncommitted") and not key.startswith("the "))
    print(f"ok: {what}: {len(wanted)} answers with {records} records are the same", flush=True)


def shown(answer):
    return f"{str(answer)[:300]} ({len(answer) if hasattr(answer, '__len__') else ''})"


def goes_on(ours, seen):
    """Clients go on where they were with Kafka."""
    side = ours.side()
    the_open_one(side, seen)
    groups(side, seen)
    producers(ours, side)
    ends = {topic: side.end(topic) for topic in TOPICS}
    ours.kill()
    ours.start()
    side = ours.side()
    check("all ends are the same after a kill -9", {topic: side.end(topic) for topic in TOPICS}, ends)
    for topic, (partitions, _) in TOPICS.items():
        now = {record[:2]: record for record in side.read(topic, partitions, "read_uncommitted")}
        lost = [record[:2] for record in seen[f"{topic} at read_uncommitted"] if now.get(record[:2]) != record]
        check(f"{topic} still has what was imported", lost, [])


def the_open_one(side, seen):
    """The transaction that Kafka has left open is aborted when its producer comes back, with its offsets."""
    check("an open transaction holds back readers", side.is_settled("left.open"), False)
    writer = side.transactional("left open", transaction_timeout_ms=600_000)
    wait_until("the open transaction ends", lambda: side.is_settled("left.open"))
    words = [record[4].split()[0] for record in side.read("left.open", 1, "read_committed")]
    check("it was aborted", words, [b"before"] * 5 + [b"behind"] * 5)
    check("so are its offsets", side.committed("by-transaction"), seen["offsets of group by-transaction"])
    writer.begin_transaction()
    writer.produce("left.open", "again")
    writer.commit_transaction(SECONDS_MAX)
    wait_until("its next transaction is read", lambda: side.read("left.open", 1, "read_committed")[-1][4] == b"again")


def the_busy_one(side, committed):
    """Whatever Kafka's coordinator was at when it was killed: what was committed is there, and each transaction whole or not at all."""
    side.transactional(Busy.IDENTITY)
    wait_until("its last transaction ends", lambda: side.is_settled(BUSY))
    records = side.read(BUSY, BUSY_PARTITIONS, "read_committed")
    turns = [[int(record[4]) for record in records if record[0] == partition] for partition in range(BUSY_PARTITIONS)]
    ours = range(max(turns[0]) + 1)
    check("transactions are whole and in order", turns, [[turn for turn in ours for _ in range(2)]] * BUSY_PARTITIONS)
    check("all that was committed is there, and at most one more", len(ours) - len(committed) in (0, 1), True)


def groups(side, seen):
    """A group's members get what comes next, as soon as the member that was there is missed."""
    for group, topic in GROUPS.items():
        reader = side.consumer(group, isolation_level="read_committed", **protocol_of(group))
        reader.subscribe([topic])
        wanted = next_records(seen, group, topic)
        first, deadline = {}, time.monotonic() + SECONDS_MAX
        while len(first) < len(wanted) and time.monotonic() < deadline:
            for message in reader.consume(500, 0.2):
                if message.error() is None:
                    first.setdefault(message.partition(), message.offset())
        check(f"group {group} goes on where it was", first, wanted)
        reader.commit(asynchronous=False)
        reader.close()


def next_records(seen, group, topic):
    """The first record of each partition that the group has not read."""
    committed = {partition: offset for name, partition, offset, _ in seen[f"offsets of group {group}"] if name == topic}
    first = {}
    for partition, offset, *_ in seen[f"{topic} at read_committed"]:
        if offset >= committed.get(partition, 0):
            first.setdefault(partition, offset)
    return first


def producers(ours, side):
    """Plain, idempotent and transactional ones append behind what is there, and no producer gets an id that Kafka gave."""
    old, imported_end = producer_ids(ours), side.end("everything")[0]
    for topic, (partitions, _) in TOPICS.items():
        before = side.end(topic)
        for settings in ({}, {"enable_idempotence": True}):
            writer, told = side.producer(**settings), []
            for partition in range(partitions):
                writer.produce(topic, "new", "new", partition=partition, on_delivery=lambda error, message: told.append((error, message.offset())))
            check(f"{topic}: {settings or 'plain'}", (writer.flush(SECONDS_MAX), sorted(told)), (0, sorted((None, end) for end in before)))
            before = [end + 1 for end in before]
    # One that Kafka knows, and one that it does not.
    for identity in ("id-0", "new id"):
        committed = len(side.read("transactions", 2, "read_committed"))
        writer = side.transactional(identity)
        for end in (writer.abort_transaction, writer.commit_transaction):
            writer.begin_transaction()
            for number in range(10):
                writer.produce("transactions", f"{end.__name__} {number}", partition=number % 2)
            writer.flush(SECONDS_MAX)
            end(SECONDS_MAX)
        wait_until("its transactions have ended", lambda: side.is_settled("transactions"))
        after = side.read("transactions", 2, "read_committed")
        check(f"transactions of {identity}", (len(after), any(b"abort" in record[4] for record in after)), (committed + 10, False))
    batches = raw_log.batches(ours.bootstrap, "everything")
    new = {batch.producer for batch in batches if batch.base_offset >= imported_end and batch.producer >= 0}
    check("an idempotent producer has an id of its own", (len(new), new & old), (1, set()))
    check("a transactional one too", raw_log.batches(ours.bootstrap, "transactions")[-1].producer in old, False)


def producer_ids(ours):
    """Those that Kafka gave, as far as they are in partition 0."""
    return {batch.producer for topic in ("everything", "transactions", "left.open") for batch in raw_log.batches(ours.bootstrap, topic)} - {-1}


def wait_until(what, is_so):
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {SECONDS_MAX} s")
        time.sleep(0.02)


def whole(logs, seen, *options, committed=None):
    """A whole log directory, into a directory that is new."""
    before = stamps(logs)
    with Ours() as ours:
        planned = ours.imports("--dry-run", *options, logs)
        check("a dry run names the topics", {topic["topic"] for topic in planned["topics"]} >= set(TOPICS), True)
        check("and changes nothing", partitions_in(ours.data), [])
        said = ours.imports(*options, logs)
        partitions = [partition for topic in said["topics"] for partition in topic["partitions"]]
        print(f"did: {len(partitions)} partitions of {len(said['topics'])} topics imported, {sum(one['bytes'] for one in partitions)} bytes, "
              f"{sum(one['bytes_cut'] for one in partitions)} cut, {len(said['notes'])} notes", flush=True)
        check("the source is as it was", changes(before, stamps(logs)), [])
        ours.start()
        same("what clients see", look(ours.side()), seen)
        if committed is not None:
            the_busy_one(ours.side(), committed)
        goes_on(ours, seen)
        check("a broker at work is not disturbed", ours.run_import(logs).returncode != 0, True)
        ours.stop()
        ours.refuses("the same again", ["topic"], logs)
        check("Kafka's tool finds nothing wrong", dumped(ours.data, compacted=["compacted"]), True)


def by_partition(logs, seen, scratch):
    """Single partitions into a directory that has topics; and what is refused."""
    topic, partitions = "everything", TOPICS["everything"][0]
    directories = [logs / f"{topic}-{number}" for number in range(partitions)]
    with Ours() as ours:
        ours.start()
        writer = ours.side().producer(enable_idempotence=True)
        ours.command("topic", "create", "ours", "--partitions", "1")
        writer.produce("ours", "was here before")
        check("written", writer.flush(SECONDS_MAX), 0)
        ours.stop()
        refusals(ours, logs, scratch, directories)
        notes = ours.imports(*directories, logs / "left.open-0")["notes"]
        ours.start()
        side = ours.side()
        check("the records", side.read(topic, partitions, "read_uncommitted"), seen[f"{topic} at read_uncommitted"])
        check("what was there", [record[4] for record in side.read("ours", 1, "read_committed")], [b"was here before"])
        abort, = re.findall("`tidemill (txn abort [^`]*)`", "".join(notes))
        ours.command(*abort.split(), "--yes")
        check("what a note says ends a transaction that nobody knows", side.is_settled("left.open"), True)
        words = [record[4].split()[0] for record in side.read("left.open", 1, "read_committed")]
        check("it is aborted", words, [b"before"] * 5 + [b"behind"] * 5)
        ours.stop()
        ours.refuses("the same topic again", [topic], *directories)
        check("Kafka's tool finds nothing wrong", dumped(ours.data), True)


def refusals(ours, logs, scratch, directories):
    nameless, empty, damaged = scratch / "nameless", scratch / "empty-0", scratch / "segments-0"
    shutil.copytree(directories[0], nameless)
    empty.mkdir()
    shutil.copytree(logs / "segments-0", damaged)
    segment = sorted(damaged.glob("*.log"))[2]
    position = 400_000
    with open(segment, "r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))
    ours.refuses("a directory without a partition's name", [nameless], nameless)
    ours.refuses("a directory without segments", [empty], empty)
    ours.refuses("a directory that is not there", [scratch / "nowhere-0"], scratch / "nowhere-0")
    ours.refuses("a topic without its first partition", [directories[0].name], *directories[1:])
    ours.refuses("a partition twice", [directories[0].name], *directories, directories[0])
    # The batch in which the byte lies begins before it.
    ours.refuses("a flipped bit in a closed segment", [segment, "byte 3"], damaged, *directories)
    check("Kafka's tool sees it too", dumped(scratch), False)


def tear(partition):
    """What a crash may leave: the last segment ends in the middle of a batch."""
    segment = sorted(partition.glob("*.log"))[-1]
    with open(segment, "r+b") as file:
        batch = file.read(4_000)
        file.seek(0, os.SEEK_END)
        file.write(batch)
    return len(batch)


def main():
    kafka, scratch, started = KafkaServer(), pathlib.Path(tempfile.mkdtemp(prefix="tidemill-import-")), time.monotonic()
    try:
        kafka.start()
        written = Written(kafka, Side(kafka.bootstrap))
        written.all()
        seen = look(written.side)
        print(f"did: Kafka filled and read in {time.monotonic() - started:.0f} s", flush=True)
        with Ours() as ours:
            ours.refuses("a Kafka at work", [kafka.logs], kafka.logs)
        busy = Busy(written.side)
        busy.start()
        wait_until("enough transactions", lambda: len(busy.committed) >= Busy.ENOUGH)
        kafka.kill()
        committed = list(busy.committed)
        busy.stopping.set()
        tear(kafka.logs / "segments-0")
        with Ours() as ours:
            ours.refuses("a torn end", ["segments-0", "4000 bytes"], kafka.logs)
        whole(kafka.logs, seen, "--cut-torn-tails", committed=committed)
        kafka.start()
        same("Kafka itself after its recovery", look(written.side), seen)
        kafka.stop()
        # Not with what was under way at the kill: when Kafka 4.3.1 starts after a kill in the middle of a commit, it may
        # write that all is done before all partitions have their markers, and then has a hanging transaction of its own.
        whole(kafka.logs, seen)
        by_partition(kafka.logs, seen, scratch)
        print(f"did: all in {time.monotonic() - started:.0f} s", flush=True)
    finally:
        kafka.remove()
        shutil.rmtree(scratch, ignore_errors=True)


main()
