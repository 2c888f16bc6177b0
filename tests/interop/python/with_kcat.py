"""kcat behind the language of language.py, as far as a command line goes: one process for each command."""

import json
import re
import subprocess
import time

from language import Refused, serve

SECONDS = 30
# What stands between key and value: in no text of ours.
DELIMITER = "\x01"



class Kcat:
    def __init__(self):
        self.producers, self.consumers = {}, {}

    def refusal(self, error):
        return None

    def hello(self, bootstrap):
        self.bootstrap = bootstrap
        said = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
        version, library = re.search(r"Version (\S+).*librdkafka (\S+)", said).groups()
        return {"client": "kcat", "version": f"{version} (librdkafka {library})"}

    def kcat(self, *arguments, stdin=b"", bootstrap=None):
        done = subprocess.run(["kcat", "-b", bootstrap or self.bootstrap, *map(str, arguments)], input=stdin,
                              capture_output=True, timeout=SECONDS)
        if done.returncode != 0:
            raise Refused(done.stderr.decode()[-500:])
        return done.stdout.decode()

    # ------------------------------------------------------------ administration: what -L shows, and the first message

    def describe_topic(self, topic):
        found = json.loads(self.kcat("-L", "-J", "-t", topic))["topics"]
        return {"partitions": len(found[0]["partitions"])}

    def offsets(self, topic, partition):
        return {"earliest": self.offset_of(topic, partition, -2), "latest": self.offset_of(topic, partition, -1)}

    def offset_of(self, topic, partition, time):
        return int(re.search(r"offset (-?\d+)", self.kcat("-Q", "-t", f"{topic}:{partition}:{time}"))[1])

    # ------------------------------------------------------------ producers

    def producer(self, name, compression="none", idempotent=False, transactional_id=None, bootstrap=None):
        options = ["-z", compression, "-X", "message.max.bytes=1048576"]
        options += ["-X", "enable.idempotence=true", "-X", "batch.num.messages=10"] if idempotent else []
        options += ["-X", f"transactional.id={transactional_id}"] if transactional_id else []
        self.producers[name] = options, bootstrap

    def send(self, name, records):
        """One run for records of one kind; kcat sets no time of its own and tells no offsets."""
        options, bootstrap = self.producers[name]
        kinds = [(r["topic"], r.get("partition", 0), r.get("headers") or [], r.get("value") is None) for r in records]
        at = 0
        while at < len(records):
            end = next((n for n in range(at, len(records)) if kinds[n] != kinds[at]), len(records))
            topic, partition, headers, tombstones = kinds[at]
            lines = "".join(line(record) for record in records[at:end])
            tombstone = ["-Z"] if tombstones else []
            headers = [part for name, value in headers for part in ("-H", f"{name}={value}")]
            self.kcat("-P", "-t", topic, "-p", partition, "-K", DELIMITER, *tombstone, *headers, *options,
                      stdin=lines.encode(), bootstrap=bootstrap)
            at = end

    # ------------------------------------------------------------ consumers

    def consumer(self, name, group=None, isolation="read_committed"):
        self.consumers[name] = {"group": group, "isolation": isolation}

    def assign(self, name, topic, partition, offset=0, time=None):
        if time is not None:
            offset = self.offset_of(topic, partition, time)
        self.consumers[name] |= {"topic": topic, "partition": partition, "offset": offset}
        return {"offset": offset}

    def subscribe(self, name, topic):
        self.consumers[name]["topic"] = topic

    def poll(self, name, count, ms, commit=False):
        """Runs until the end of the topic, again and again; a group's member commits when it ends."""
        reader, records, deadline = self.consumers[name], [], time.monotonic() + ms / 1000
        while len(records) < count and time.monotonic() < deadline:
            found = [shown(json.loads(text)) for text in self.read(reader, count - len(records)).splitlines()]
            if found and not reader["group"]:
                reader["offset"] = found[-1]["offset"] + 1
            records += found
        return {"records": records, "assignment": []}

    def read(self, reader, count):
        common = ["-q", "-J", "-e", "-c", count, "-X", f"isolation.level={reader['isolation']}", "-X", "fetch.wait.max.ms=100"]
        if reader["group"]:
            return self.kcat("-G", reader["group"], *common, "-X", "auto.offset.reset=earliest", reader["topic"])
        return self.kcat("-C", "-t", reader["topic"], "-p", reader["partition"], "-o", reader["offset"], *common)

    def close(self, name):
        self.consumers.pop(name, None) or self.producers.pop(name)


def line(record):
    key = "" if record.get("key") is None else record["key"] + DELIMITER
    return f"{key}{record.get('value') or ''}\n"


def shown(message):
    headers = message.get("headers") or []
    return {"topic": message["topic"], "partition": message["partition"], "offset": message["offset"],
            "key": message["key"], "value": message["payload"], "timestamp": message["ts"],
            "headers": [list(pair) for pair in zip(headers[::2], headers[1::2])]}


serve(Kcat())
