"""Apache Kafka's own tools, from their jars, against a broker of ours and its files; each does a real job, and its output is checked.

Writes interop/tools.json, of which docs/compatibility.md is made.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile

from broker import Broker

# The tools have a broker of their own, which is killed.
BROKER = Broker(os.environ["TIDEMILL"], "--config-set", "group.initial.rebalance.delay.ms=0")
os.environ["BOOTSTRAP"] = BROKER.bootstrap
BROKER.start()

import common  # noqa: E402 (it takes the broker from the environment)
from common import check, new_topic, producer, read_all, read_settled, transactional, unique, values  # noqa: E402
from jvm import INTEROP, Runner, java, wrong  # noqa: E402

SECONDS_MAX = 60
TOOLS = []


def tool(name, job):
    """Puts a function onto the list: what is run, and what it has done."""
    def register(function):
        TOOLS.append((name, job, function))
        return function
    return register


def alone(name, *arguments):
    """What a tool prints that ends its virtual machine, or does its last work at that end."""
    command = java("tools", name, *arguments, log_level="error")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX)
    if done.returncode != 0:
        wrong(f"{name}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


RUN = Runner()
AT = ("--bootstrap-server", BROKER.bootstrap)


def has(what, text, *parts):
    """Whether all parts are in the text; runs of blanks are one."""
    flat = re.sub(r"\s+", " ", text)
    missing = [part for part in parts if part not in flat]
    if missing:
        wrong(f"{what}: {missing} not in\n{text[:3000]}")
    print(f"ok: {what}", flush=True)


@tool("kafka-topics", "create, list, describe, alter, delete")
def topics():
    def run(*arguments):
        return RUN("org.apache.kafka.tools.TopicCommand", *AT, *arguments)

    topic = unique("tools.topic")
    has("a topic is created", run("--create", "--topic", topic, "--partitions", 3, "--config", "retention.ms=3600000"),
        f"Created topic {topic}.")
    check("it is listed", topic in run("--list").split(), True)
    has("it is described", run("--describe", "--topic", topic), f"Topic: {topic} ", "PartitionCount: 3 ReplicationFactor: 1 ",
        "retention.ms=3600000", "Partition: 2 Leader: ")
    run("--alter", "--topic", topic, "--partitions", 5)
    has("it has grown", run("--describe", "--topic", topic), "PartitionCount: 5 ")
    run("--delete", "--topic", topic)
    check("it is gone", topic in run("--list").split(), False)


@tool("kafka-configs", "describe, add and delete a topic's configuration; the broker's")
def configs():
    topic = new_topic("tools.configs")

    def run(*arguments):
        return RUN(CONFIG_COMMAND, *AT, *arguments)

    run("--alter", "--entity-type", "topics", "--entity-name", topic, "--add-config", "max.message.bytes=2000000,retention.ms=1000")
    described = run("--describe", "--entity-type", "topics", "--entity-name", topic)
    has("what was added", described, "max.message.bytes=2000000 ", "retention.ms=1000 ", "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000")
    run("--alter", "--entity-type", "topics", "--entity-name", topic, "--delete-config", "retention.ms")
    described = run("--describe", "--entity-type", "topics", "--entity-name", topic)
    check("what was deleted", ("max.message.bytes=2000000" in described, "retention.ms=1000" in described), (True, False))
    has("a default", run("--describe", "--all", "--entity-type", "topics", "--entity-name", topic), "min.insync.replicas=1 ")
    has("the broker's", run("--describe", "--all", "--entity-type", "brokers", "--entity-name", broker_id()), "log.dirs=", "num.partitions=")


def broker_id():
    return str(common.ADMIN.describe_cluster().result(common.SECONDS_MAX).controller.id)


@tool("kafka-console-producer, kafka-console-consumer", "keys and headers in and out, from the beginning, in a group")
def console():
    topic, group = new_topic("tools.console"), unique("tools.console")
    RUN("org.apache.kafka.tools.ConsoleProducer", *AT, "--topic", topic, "--reader-property", "parse.key=true", "--reader-property",
        "key.separator=:", "--reader-property", "parse.headers=true", stdin="h1:one\tk1:v1\nh1:two\tk2:v2\nh1:three\tk3:v3\n")
    check("what was produced", [(m.key(), m.value(), m.headers()) for m in read_all(topic)],
          [(f"k{n}".encode(), f"v{n}".encode(), [("h1", word.encode())]) for n, word in enumerate(("one", "two", "three"), 1)])
    read = RUN("org.apache.kafka.tools.consumer.ConsoleConsumer", *AT, "--topic", topic, "--from-beginning", "--max-messages", 3, "--group", group,
               "--timeout-ms", 20_000, "--isolation-level", "read_committed", "--formatter-property", "print.key=true",
               "--formatter-property", "print.headers=true", "--formatter-property", "print.offset=true")
    check("what is consumed", read.splitlines(), [f"Offset:{n - 1}\th1:{word}\tk{n}\tv{n}" for n, word in enumerate(("one", "two", "three"), 1)])
    GROUPS[group] = topic


GROUPS = {}


@tool("kafka-consumer-groups", "list, describe, reset offsets, delete offsets, delete")
def consumer_groups():
    def run(*arguments):
        return RUN("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", *AT, *arguments)

    (group, topic), = GROUPS.items()
    check("the console consumer's group is listed", group in run("--list").split(), True)
    has("its offsets", run("--describe", "--group", group), f"{group} {topic} 0 3 3 0 - ")
    has("its state", run("--describe", "--group", group, "--state"), "Empty 0")
    run("--reset-offsets", "--group", group, "--topic", topic, "--to-offset", 1, "--execute")
    has("its offset moved", run("--describe", "--group", group), f"{group} {topic} 0 1 3 2 - ")
    run("--reset-offsets", "--group", group, "--topic", topic, "--shift-by", 1, "--execute")
    has("and shifted", run("--describe", "--group", group), f"{group} {topic} 0 2 3 1 - ")
    run("--delete-offsets", "--group", group, "--topic", topic)
    check("its offset is deleted", common.committed(group, topic), -1001)
    run("--delete", "--group", group)
    check("it is deleted", group in run("--list").split(), False)
    KEPT["group"] = unique("tools.kept")
    reader = common.consumer(KEPT["group"])
    reader.subscribe([topic])
    check("a member reads", values(reader.consume(3, SECONDS_MAX)), ["v1", "v2", "v3"])
    reader.commit(asynchronous=False)
    has("a member is described", run("--describe", "--group", KEPT["group"], "--members", "--verbose"), f"{KEPT['group']} ", f"{topic}:0 ")
    reader.close()


# What the files are later searched for.
KEPT = {}


@tool("kafka-groups", "list")
def groups():
    has("the group is listed", RUN("org.apache.kafka.tools.GroupsCommand", *AT, "--list"), f"{KEPT['group']} Classic consumer")


@tool("kafka-get-offsets", "earliest, latest, by time")
def get_offsets():
    topic = new_topic("tools.offsets")
    writer = producer()
    for number in range(10):
        writer.produce(topic, str(number), timestamp=1_600_000_000_000 + number)
    writer.flush(SECONDS_MAX)
    for time, offset in (("earliest", 0), ("latest", 10), (1_600_000_000_004, 4), ("max-timestamp", 9)):
        got = RUN("org.apache.kafka.tools.GetOffsetShell", *AT, "--topic", topic, "--time", time)
        check(f"offset of {time}", got.split(), [f"{topic}:0:{offset}"])


@tool("kafka-delete-records", "up to an offset")
def delete_records():
    topic = new_topic("tools.deleted")
    writer = producer()
    for number in range(10):
        writer.produce(topic, str(number))
    writer.flush(SECONDS_MAX)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 7}]}, file)
        file.flush()
        has("the log's start", RUN("org.apache.kafka.tools.DeleteRecordsCommand", *AT, "--offset-json-file", file.name), "low_watermark: 7")
    check("what is left", values(read_all(topic)), ["7", "8", "9"])


@tool("kafka-transactions", "list, describe, describe producers, find hanging ones, abort")
def transactions():
    def run(*arguments):
        return RUN("org.apache.kafka.tools.TransactionsCommand", *AT, *arguments)

    topic, identity = new_topic("tools.txn"), unique("tools.txn")
    KEPT["transactional id"] = identity
    writer = transactional(identity)
    writer.begin_transaction()
    writer.produce(topic, "open")
    check("a transaction is open", writer.flush(SECONDS_MAX), 0)
    listed = next(line.split() for line in run("list").splitlines() if line.startswith(identity))
    check("it is listed", listed[3], "Ongoing")
    has("it is described", run("describe", "--transactional-id", identity), f" {listed[2]} ", " Ongoing ", f"{topic}-0")
    producers = run("describe-producers", "--topic", topic, "--partition", 0)
    has("its producer is described", producers, f"{listed[2]} 0 ")
    # Nothing hangs: the coordinator knows the transaction.
    check("nothing hangs", len(run("find-hanging", "--topic", topic, "--max-transaction-timeout", 0).splitlines()), 1)
    run("abort", "--topic", topic, "--partition", 0, "--start-offset", 0)
    plain = producer()
    plain.produce(topic, "behind")
    plain.flush(SECONDS_MAX)
    check("it is aborted", values(read_all(topic)), ["behind"])
    writer.abort_transaction(SECONDS_MAX)
    writer.begin_transaction()
    writer.produce(topic, "committed")
    writer.commit_transaction(SECONDS_MAX)
    check("its producer goes on", values(read_settled(topic)), ["behind", "committed"])
    KEPT["topic"] = topic


@tool("kafka-verifiable-producer, kafka-verifiable-consumer", "200 records, each accounted for")
def verifiable():
    topic, group = new_topic("tools.verifiable", 2), unique("tools.verifiable")
    said = alone("org.apache.kafka.tools.VerifiableProducer", *AT, "--topic", topic, "--max-messages", 200, "--acks", -1)
    sent = [event["value"] for event in events(said, "producer_send_success")]
    check("sent", sorted(sent, key=int), [str(number) for number in range(200)])
    said = alone("org.apache.kafka.tools.VerifiableConsumer", *AT, "--topic", topic, "--max-messages", 200, "--group-id", group, "--verbose")
    check("consumed", sorted((event["value"] for event in events(said, "record_data")), key=int), sorted(sent, key=int))
    check("committed", sum(max(common.committed(group, topic, number), 0) for number in range(2)), 200)


def events(said, name):
    return [event for line in said.splitlines() if line.startswith("{") and (event := json.loads(line))["name"] == name]


@tool("kafka-producer-perf-test, kafka-consumer-perf-test", "5,000 records, plain and in transactions")
def performance():
    topic = new_topic("tools.perf", 2)
    for options in ((), ("--transactional-id", unique("tools.perf"), "--transaction-duration-ms", 50)):
        has("produced", RUN("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", 5000, "--record-size", 100,
                            "--throughput", -1, *AT, *options), "5000 records sent")
    said = RUN("org.apache.kafka.tools.ConsumerPerformance", *AT, "--topic", topic, "--num-records", 10_000, "--timeout", 20_000)
    columns, numbers = [line.split(", ") for line in said.splitlines() if "," in line][:2]
    check("consumed", int(numbers[columns.index("data.consumed.in.nMsg")]), 10_000)


@tool("kafka-e2e-latency", "100 records there and back")
def latency():
    topic = new_topic("tools.latency")
    has("measured", RUN("org.apache.kafka.tools.EndToEndLatency", *AT, "--topic", topic, "--num-records", 100, "--producer-acks", "all",
                        "--record-size", 50), "Avg latency:", "Percentiles: 50th")


@tool("transactional message copier (Kafka's system tests)", "a topic copied exactly once, offsets in the transactions")
def message_copier():
    source, output, group = new_topic("tools.copied"), new_topic("tools.copy"), unique("tools.copier")
    writer = producer()
    for number in range(500):
        writer.produce(source, str(number))
    writer.flush(SECONDS_MAX)
    alone("org.apache.kafka.tools.TransactionalMessageCopier", "--broker-list", BROKER.bootstrap, "--input-topic", source, "--input-partition", 0,
        "--output-topic", output, "--max-messages", 500, "--consumer-group", group, "--transaction-size", 70, "--transactional-id",
        unique("tools.copier"), "--enable-random-aborts", "--group-mode", "--use-group-metadata")
    check("copied", values(read_settled(output)), [str(number) for number in range(500)])
    check("committed", common.committed(group, source), 500)


@tool("kafka-cluster, kafka-features, kafka-broker-api-versions", "describe")
def cluster():
    identity = common.ADMIN.describe_cluster().result(common.SECONDS_MAX).cluster_id
    has("the cluster's id", RUN("org.apache.kafka.tools.ClusterTool", "cluster-id", *AT), f"Cluster ID: {identity}")
    has("features", RUN("org.apache.kafka.tools.FeatureCommand", *AT, "describe"), "Feature: transaction.version", "FinalizedVersionLevel: 2")
    has("versions of APIs", RUN("org.apache.kafka.tools.BrokerApiVersionsCommand", *AT), f"{BROKER.bootstrap} (id: {broker_id()}", "Produce(0): ",
        "EndTxn(26): 0 to 5")


def files_of(pattern):
    found = [file for file in glob.glob(os.path.join(BROKER.directory, "data", "**", pattern), recursive=True) if os.path.getsize(file)]
    check(f"there are files {pattern}", bool(found), True)
    return ",".join(sorted(found))


def dump(*arguments):
    """What kafka-dump-log prints; what it finds wrong in a file it says on stderr."""
    said = RUN(DUMP_LOG, *arguments)
    check(f"nothing is wrong with {arguments[0]}", RUN.error, "")
    return said


def dump_all(when):
    """Every record of the kept topic, group and transaction in the broker's files."""
    said = dump("--deep-iteration", "--print-data-log", "--files", files_of(f"{KEPT['topic']}-0/*.log"))
    payloads = re.findall(r"payload: (\w+)", said)
    check(f"{when}: records", payloads, ["open", "behind", "committed"])
    has(f"{when}: batches and markers", said, "isTransactional: true", "isControl: true", "endTxnMarker: ABORT", "endTxnMarker: COMMIT",
        "isvalid: true")
    check(f"{when}: nothing is invalid", "isvalid: false" in said or "mismatch" in said.lower(), False)
    offsets = [payload["offset"] for key, payload in decoded("--offsets-decoder", "__consumer_offsets-*/*.log")
               if key.get("group") == KEPT["group"] and "partition" in key and payload]
    check(f"{when}: the group's offset", offsets, [3])
    states = [payload["transactionStatus"] for key, payload in decoded("--transaction-log-decoder", "__transaction_state-*/*.log")
              if key["transactionalId"] == KEPT["transactional id"]]
    # Empty, Ongoing, PrepareAbort, CompleteAbort, Ongoing, PrepareCommit, CompleteCommit
    check(f"{when}: the transaction's states", states, [0, 1, 3, 5, 1, 2, 4])


def decoded(decoder, pattern):
    """Keys and payloads of a coordinator's records."""
    for line in dump(decoder, "--files", files_of(pattern)).splitlines():
        if found := re.search(r" key: (\{.*\}) payload: (.*)$", line):
            key, payload = (json.loads(text) if text.startswith("{") else None for text in found.groups())
            yield key["data"], payload and payload["data"]


@tool("kafka-dump-log", "records, `--offsets-decoder`, `--transaction-log-decoder`, indexes and snapshots of the broker's files")
def dump_log():
    dump_all("at work")
    BROKER.kill()
    BROKER.start()
    check("after kill -9 records are read", values(read_all(KEPT["topic"])), ["behind", "committed"])
    dump_all("after kill -9 and restart")
    BROKER.stop()
    dump_all("after an orderly stop")
    for kind in ("*.index", "*.timeindex"):
        for file in files_of(f"tools.perf*-0/{kind}").split(","):
            dump("--verify-index-only", "--files", file)
            has(f"{kind} is sane", dump("--index-sanity-check", "--files", file), "passed sanity check")
    has("a producer snapshot", dump("--files", files_of(f"{KEPT['topic']}-0/*.snapshot").split(",")[0]), "producerId: ", "producerEpoch: ")


def main():
    done = []
    try:
        for name, job, function in TOOLS:
            try:
                function()
                done.append({"tool": name, "job": job})
            except (SystemExit, KeyError) as failure:
                print(f"--- {name} has failed: {failure!r}; the broker said\n{BROKER.log_tail(3)}\n---", flush=True)
    finally:
        RUN.end()
        BROKER.remove()
    if len(done) < len(TOOLS):
        sys.exit(1)
    (INTEROP / "tools.json").write_text(json.dumps({"version": RUN.version, "tools": done}, indent=1))


CONFIG_COMMAND = "kafka.admin.ConfigCommand"
DUMP_LOG = "org.apache.kafka.tools.DumpLogSegments"
main()
