#!/usr/bin/env python3
"""Apache Kafka's own kafka-dump-log over every file of data directories: whatever was killed when, nothing in them may be wrong.

Batches and records of every log, with --deep-iteration and --print-data-log, those of the coordinators with their decoders;
every index against its log and by the check that Kafka makes when it starts; aborted transactions, each of which must have its
marker in the log, and producers' snapshots.
No broker may be at work on a directory.

usage: dump_directory.py DIRECTORY... [--dropped TOPIC]... [--compacted TOPIC]...
(make kill-loop does it with what the kill loop has left)
"""

import argparse
import collections
import pathlib
import re
import sys
import time

import jvm

DUMP_LOG = "org.apache.kafka.tools.DumpLogSegments"
# What a call prints is in memory, and several times as long as what it reads.
CALL_BYTES_MAX, HEAP_MB, SECONDS_MAX = 8 << 20, 768, 300
DEEP = ("--deep-iteration", "--print-data-log")
DECODERS = {"__consumer_offsets": "--offsets-decoder", "__transaction_state": "--transaction-log-decoder"}
# A file's kind, and the calls that look at it.
CALLS = {
    ".log": [()],
    ".index": [("--verify-index-only",), ("--index-sanity-check",)],
    ".timeindex": [("--verify-index-only",), ("--index-sanity-check",)],
    ".txnindex": [()],
    ".snapshot": [()],
}
BATCH = re.compile(r"baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) .* producerId: (?P<producer>-?\d+) .*"
                   r" isTransactional: (?P<transactional>\w+) isControl: (?P<control>\w+) .* isvalid: (?P<valid>\w+)$")
ABORTED = re.compile(r"version: 0 producerId: (\d+) firstOffset: (\d+) lastOffset: (\d+) lastStableOffset: (\d+)$")
# What the decoders say instead of a record.
UNDECODED = re.compile(r" key: (Error at offset|Unknown record type) .*")
FOLLOWED = re.compile(r"  (-?\d+) is followed by (\d+)$")
PROBLEMS_SHOWN = 30


class Dump:
    """What was read so far, and what was wrong with it."""

    def __init__(self, dropped, compacted):
        self.lack_records, self.lack_batches = {*dropped, *compacted}, {*compacted}
        self.problems, self.figures = [], collections.Counter()
        self.ends, self.run = {}, jvm.Runner(SECONDS_MAX, HEAP_MB)
        # Partition, producer and offset of the markers of aborted transactions.
        self.producer, self.abort_markers = None, set()

    def directory(self, directory):
        before = files_of(directory)
        if not before:
            self.problems.append(f"{directory}: no partition's directory in it")
        for suffix, calls in CALLS.items():
            chosen = [file for file in before if file.suffix == suffix]
            self.figures[f"*{suffix}"] += len(chosen)
            for options in calls:
                for decoder, files in portions(chosen) if suffix == ".log" else ([((), chosen)] if chosen else []):
                    self.call([*options, *decoder], files)
        if files_of(directory) != before:
            self.problems.append(f"{directory}: other files than before; is a broker at work?")

    def call(self, options, files):
        answer = self.run.answer(DUMP_LOG, *options, "--files", ",".join(map(str, files)))
        file, dumped = None, 0
        for line in answer["out"].splitlines():
            if line.startswith("Dumping "):
                file, dumped = pathlib.Path(line.removeprefix("Dumping ")), dumped + 1
            else:
                self.said(file, line)
        self.complained(answer["error"].splitlines())
        if answer["status"] != 0 or dumped != len(files):
            self.problems.append(f"{file}: status {answer['status']}; of {len(files)} files {dumped} were read")

    def said(self, file, line):
        if batch := BATCH.match(line):
            self.batch(file, batch)
        elif line.startswith("| offset: "):
            self.record(file, line)
        elif line.startswith("Found ") and "invalid bytes at the end of" in line:
            self.problems.append(f"{file}: {line}")
        elif line.startswith("producerId: "):
            self.figures["producers in snapshots"] += 1
        elif line.startswith("version: "):
            self.aborted(file, line)

    def batch(self, file, batch):
        base, last, is_control = int(batch["base"]), int(batch["last"]), batch["control"] == "true"
        self.figures["batches"] += 1
        self.figures["transactional batches"] += batch["transactional"] == "true" and not is_control
        # A control batch without records is what is left of another batch.
        self.figures["markers"] += is_control and int(batch["count"]) > 0
        if batch["valid"] != "true":
            self.problems.append(f"{file}: the batch at offset {base} is not valid")
        end = self.ends.get(file.parent)
        if end is not None and base != end and not (base > end and topic_of(file) in self.lack_batches):
            self.problems.append(f"{file}: the batch at offset {base} follows what ends before {end}")
        self.ends[file.parent], self.producer = last + 1, int(batch["producer"])

    def record(self, file, line):
        self.figures["records"] += 1
        if " endTxnMarker: ABORT " in line:
            self.abort_markers.add((file.parent, self.producer, int(line.split()[2])))
        if topic_of(file) in DECODERS:
            self.figures[f"records of {topic_of(file)}"] += 1
            if undecoded := UNDECODED.search(line):
                self.problems.append(f"{file}: {undecoded[0].strip()}")

    def aborted(self, file, line):
        """A transaction of the index ends with an abort marker in the log, unless compaction has taken that."""
        self.figures["aborted transactions in indexes"] += 1
        found = ABORTED.match(line)
        producer, first, last, stable = map(int, found.groups()) if found else (-1, 0, -1, 0)
        has_marker = (file.parent, producer, last) in self.abort_markers or topic_of(file) in self.lack_batches
        if first > last or stable > last + 1 or not has_marker:
            self.problems.append(f"{file}: not a transaction that was aborted: {line}")

    def complained(self, lines):
        """All of it is a problem but gaps in an offset's sequence, which the tool sees before the first record of any file too."""
        file = None
        for line in lines:
            if line.startswith("Non-consecutive offsets in "):
                file = pathlib.Path(line.removeprefix("Non-consecutive offsets in "))
            elif file and (pair := FOLLOWED.match(line)):
                self.gap(file, int(pair[1]), int(pair[2]))
            elif not line.startswith("\tat "):
                file = None
                self.problems.append(line)

    def gap(self, file, last, following):
        if last == -1 and following == int(file.stem):
            return
        if following > max(last, int(file.stem)) and topic_of(file) in self.lack_records:
            self.figures["gaps where they may be"] += 1
        else:
            self.problems.append(f"{file}: offset {last} is followed by {following}")


def files_of(directory):
    """The files of partitions, so that the batches of each come in order."""
    return sorted(file for file in pathlib.Path(directory).glob("*-*/*") if file.suffix in CALLS)


def topic_of(file):
    return file.parent.name.rsplit("-", 1)[0]


def portions(logs):
    """Logs for one call each: of one decoder, and not too large together; in order, of which the batches are checked."""
    chosen, decoder, size = [], None, 0
    for log in logs:
        wanted = (*DEEP, *([DECODERS[topic_of(log)]] if topic_of(log) in DECODERS else []))
        if chosen and (wanted != decoder or size + log.stat().st_size > CALL_BYTES_MAX):
            yield decoder, chosen
            chosen, size = [], 0
        chosen.append(log)
        decoder, size = wanted, size + log.stat().st_size
    if chosen:
        yield decoder, chosen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="+", type=pathlib.Path)
    parser.add_argument("--dropped", action="append", default=[], metavar="TOPIC",
                        help="an interceptor drops records of this topic: they may be missing in their batches")
    parser.add_argument("--compacted", action="append", default=[], metavar="TOPIC", help="here batches may be missing, too")
    options = parser.parse_args()
    if not jvm.tools_are_there():
        sys.exit(f"there is no Kafka in {jvm.TOOLS}: make foreign-clients puts it there")
    is_good = True
    for directory in options.directories:
        is_good &= dumped(directory, options.dropped, options.compacted)
    sys.exit(0 if is_good else 1)


def dumped(directory, dropped=(), compacted=()):
    """Whether all is well in one directory; says what was read."""
    started, dump = time.monotonic(), Dump(dropped, compacted)
    try:
        dump.directory(directory)
    finally:
        dump.run.end()
    for figure in ("batches", "records"):
        if not dump.figures[figure]:
            dump.problems.append(f"{directory}: no {figure} at all")
    figures = ", ".join(f"{count} {name}" for name, count in dump.figures.items())
    print(f"kafka-dump-log {dump.run.version}: {directory}: {figures}; {len(dump.problems)} problems; {time.monotonic() - started:.0f} s")
    print("".join(f"  {problem}\n" for problem in dump.problems[:PROBLEMS_SHOWN]), end="", flush=True)
    return not dump.problems


if __name__ == "__main__":
    main()
