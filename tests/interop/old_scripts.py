"""A script written for Kafka's tools, with links to the binary in their place: the same flags, and texts that `grep` and
`awk` find where they were."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from common import BOOTSTRAP, check, committed, consumer, transactional, unique

LINKS = pathlib.Path(tempfile.mkdtemp(prefix="tidemill-links-"))


def run(tool, *arguments, stdin="", status=0):
    """What a tool, called by its name, prints; and what it says beside."""
    link = LINKS / tool
    if not link.exists():
        link.symlink_to(os.environ["TIDEMILL"])
    command = [str(link), "--bootstrap-server", BOOTSTRAP, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != status:
        print(f"WRONG: {tool} {arguments}: status {done.returncode}, not {status}\n{done.stdout}{done.stderr}", flush=True)
        sys.exit(1)
    return done.stdout if status == 0 else done.stderr


def topics():
    name = unique("script")
    create = ["--create", "--topic", name, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=60000"]
    check("a topic is created", run("kafka-topics.sh", *create), f"Created topic {name}.\n")
    check("a second one fails with status 1", "TOPIC_ALREADY_EXISTS" in run("kafka-topics", *create, status=1), True)
    check("unless that is meant", run("kafka-topics", *create, "--if-not-exists"), "")
    check("it is listed", name in run("kafka-topics", "--list").split("\n"), True)
    first, *partitions = run("kafka-topics", "--describe", "--topic", name).rstrip("\n").split("\n")
    pattern = rf"Topic: {name}\tTopicId: [\w-]{{22}}\tPartitionCount: 2\tReplicationFactor: 1\tConfigs: retention.ms=60000"
    check("it is described", bool(re.fullmatch(pattern, first)), True)
    node = re.search(r"Leader: (\d+)", partitions[0]).group(1)
    lines = [f"\tTopic: {name}\tPartition: {number}\tLeader: {node}\tReplicas: {node}\tIsr: {node}\tElr: \tLastKnownElr: "
             for number in range(2)]
    check("with its partitions", partitions, lines)
    run("kafka-topics", "--alter", "--topic", name, "--partitions", "3")
    check("it has more partitions", run("kafka-topics", "--describe", "--topic", name).count("\tPartition: "), 3)
    check("one that is not there", "there is no topic" in
          run("kafka-topics", "--describe", "--topic", unique("no"), status=1), True)
    return name


def configs(topic):
    alter = ["--alter", "--entity-type", "topics", "--entity-name", topic]
    said = run("kafka-configs", *alter, "--add-config", "cleanup.policy=[compact,delete],max.message.bytes=2000000")
    check("configs are altered", said, f"Completed updating config for topic {topic}.\n")
    first, *settings = run("kafka-configs", "--describe", "--topic", topic).rstrip("\n").split("\n")
    check("configs are described", first, f"Dynamic configs for topic {topic} are:")
    check("with what was set", [line.split()[0] for line in settings],
          ["cleanup.policy=compact,delete", "max.message.bytes=2000000", "retention.ms=60000"])
    check("and where it comes from", "sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000, "
          "DEFAULT_CONFIG:message.max.bytes=1048588}" in settings[1], True)
    run("kafka-configs", *alter, "--delete-config", "cleanup.policy,max.message.bytes")
    check("and is gone again", run("kafka-configs", "--describe", "--topic", topic).count("\n"), 2)
    check("a bad one is refused", "INVALID_CONFIG" in run("kafka-configs", *alter, "--add-config", "retention.ms=soon", status=1),
          True)


def console(topic):
    properties = ["--property", "parse.key=true", "--property", "parse.headers=true", "--property", "key.separator=:"]
    run("kafka-console-producer", "--topic", topic, *properties, "--compression-codec", "zstd",
        stdin="a=x\tk1:v1\n".replace("=", ":") + "\tk1:v2\n")
    shown = ["--property", "print.key=true", "--property", "print.headers=true", "--property", "print.offset=true"]
    read = ["--topic", topic, "--from-beginning", "--timeout-ms", "1500"]
    check("what was produced is consumed", run("kafka-console-consumer", *read, *shown),
          "Offset:0\ta:x\tk1\tv1\nOffset:1\tNO_HEADERS\tk1\tv2\n")
    check("only values, as far as asked", run("kafka-console-consumer", *read, "--max-messages", "1"), "v1\n")
    check("a line without its key fails", "between key and value" in
          run("kafka-console-producer", "--topic", topic, "--property", "parse.key=true", stdin="v\n", status=1), True)


def offsets(topic):
    at = {line.rsplit(":", 1)[0]: line.rsplit(":", 1)[1]
          for line in run("kafka-get-offsets", "--topic", topic).split()}
    check("ends by partition", sorted(at.values()), ["0", "0", "2"])
    full = next(name for name, end in at.items() if end == "2")
    check("beginnings", run("kafka-get-offsets", "--topic-partitions", full, "--time", "earliest"), f"{full}:0\n")
    stamped = run("kafka-console-consumer", "--topic", topic, "--from-beginning", "--timeout-ms", "1500",
                  "--property", "print.timestamp=true").split()[::2]
    latest = stamped.index(max(stamped))
    check("of the latest timestamp", run("kafka-get-offsets", "--topic-partitions", full, "--time", "-3"), f"{full}:{latest}\n")
    return int(full.rsplit(":", 1)[1])


def groups(topic, partition):
    group = unique("script")
    run("kafka-console-consumer", "--topic", topic, "--group", group, "--from-beginning", "--timeout-ms", "4000")
    check("the group is listed", group in run("kafka-consumer-groups", "--list").split(), True)
    text = run("kafka-consumer-groups", "--describe", "--group", group)
    check("it has no members", f"Consumer group '{group}' has no active members." in text, True)
    rows = [line.split() for line in text.split("\n") if line.startswith(group)]
    check("its offsets and lag", [row[3:6] for row in rows if row[2] == str(partition)], [["2", "2", "0"]])
    state = run("kafka-consumer-groups", "--describe", "--group", group, "--state").split("\n")[2].split()
    check("its state", state[-2:], ["Empty", "0"])
    reset = ["--reset-offsets", "--group", group, "--topic", f"{topic}:{partition}"]
    check("a plan of a reset", run("kafka-consumer-groups", *reset, "--to-earliest").split()[-4:],
          [group, topic, str(partition), "0"])
    check("changes nothing", committed(group, topic, partition), 2)
    run("kafka-consumer-groups", *reset, "--shift-by", "-1", "--execute")
    check("a shift", committed(group, topic, partition), 1)
    run("kafka-consumer-groups", *reset, "--by-duration", "PT1H", "--execute")
    check("an hour back", committed(group, topic, partition), 0)
    exported = run("kafka-consumer-groups", *reset, "--to-latest", "--export")
    check("a plan as a file", exported, f'"{topic}",{partition},2\n')
    plan = LINKS / "plan.csv"
    plan.write_text(exported)
    run("kafka-consumer-groups", "--reset-offsets", "--group", group, "--from-file", str(plan), "--execute")
    check("carried out", committed(group, topic, partition), 2)
    text = run("kafka-consumer-groups", "--delete-offsets", "--group", group, "--topic", f"{topic}:{partition}")
    check("an offset is deleted", text.split()[-3:], [topic, str(partition), "Successful"])
    check("and gone", committed(group, topic, partition) < 0, True)
    check("the group is deleted", run("kafka-consumer-groups", "--delete", "--group", group),
          f"Deletion of requested consumer groups ('{group}') was successful.\n")


def live_group(topic):
    group = unique("script")
    member = consumer(group)
    member.subscribe([topic])
    while not member.assignment():
        member.poll(0.1)
    rows = run("kafka-consumer-groups", "--describe", "--group", group, "--members", "--verbose").split("\n")
    fields = rows[2].split()
    check("a member with what it has", (fields[0], fields[4], fields[5]), (group, "3", f"{topic}(0,1,2)"))
    check("a group with members is not deleted", "NON_EMPTY_GROUP" in
          run("kafka-consumer-groups", "--delete", "--group", group, status=1), True)
    member.close()


def transactions(topic):
    name = unique("script")
    open_one = transactional(name)
    open_one.begin_transaction()
    open_one.produce(topic, b"open", partition=0)
    open_one.flush()
    row = next(line for line in run("kafka-transactions", "list").split("\n") if line.startswith(name))
    check("an open transaction is listed", row.split()[3], "Ongoing")
    row = run("kafka-transactions", "describe", "--transactional-id", name).split("\n")[1].split()
    check("and described", (row[1], row[4], row[-1]), (name, "Ongoing", f"{topic}-0"))
    rows = run("kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0").split("\n")
    start = next(line.split()[-1] for line in rows[1:] if line and line.split()[-1] != "None")
    run("kafka-transactions", "abort", "--topic", topic, "--partition", "0", "--start-offset", start)
    rows = run("kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0").split("\n")
    check("and aborted", [line.split()[-1] for line in rows[1:] if line], ["None"] * len([line for line in rows[1:] if line]))


def doctor():
    done = subprocess.run([os.environ["TIDEMILL"], "--bootstrap-server", BOOTSTRAP, "doctor"], capture_output=True, text=True,
                          timeout=60)
    check("the doctor finds no problem", (done.returncode, "PROBLEM" in done.stdout), (0, False))
    looked_at = {line.split("  ")[0] for line in done.stdout.split("\n")[1:] if line}
    check("and has looked at everything", looked_at, {"bootstrap", "cluster", "broker", "features", "topics",
          "group coordinator", "transaction coordinator", "groups", "transactions"})


doctor()
topic = topics()
configs(topic)
console(topic)
groups(topic, offsets(topic))
live_group(topic)
transactions(topic)
run("kafka-topics", "--delete", "--topic", topic)
check("the topic is gone", topic in run("kafka-topics", "--list").split("\n"), False)
