"""Kafka Streams' word count with exactly_once_v2, killed in the middle and started again: each count once and in order.

Without a cache every word of the input is one record of the output, so that the words' counts must be 1, 2, 3 … without
a gap or a repetition. Writes interop/streams.json, of which docs/compatibility.md is made.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
import time

import common
from common import BOOTSTRAP, check, new_topic, unique
from fleet import INTEROP, JVM

WORDS = ["tide", "mill", "stream", "broker", "gate", "wheel", "corn", "sea"]
LINES, WORDS_A_LINE = 600, 5
SECONDS_MAX = 100


def start(identity, source, output, state, log):
    command = [*JVM[:-2], "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
               f"{INTEROP}/tools/classes:{INTEROP}/tools/lib/*", "tidemill.tools.WordCount", BOOTSTRAP, identity, source, output, state]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def counts(output):
    """All committed counts of each word, in the order of its partition."""
    seen = {}
    for message in common.read_all(output, partitions=2):
        seen.setdefault(message.key().decode(), []).append(int.from_bytes(message.value(), "big"))
    return seen


def wait_for(enough, output, process, log):
    deadline = time.monotonic() + SECONDS_MAX
    while (total := sum(len(ones) for ones in counts(output).values())) < enough:
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            print(f"WRONG: {total} counts of {enough}, status {process.poll()}\n{log.read()[-4000:]}", flush=True)
            raise SystemExit(1)
        time.sleep(0.1)


def main():
    dice = random.Random(int(os.environ.get("SEED", "1")))
    source, output, identity = new_topic("lines", 2), new_topic("counts", 2), unique("word-count")
    wanted, writer = dict.fromkeys(WORDS, 0), common.producer()
    lines = [dice.choices(WORDS, k=WORDS_A_LINE) for _ in range(LINES)]
    state, log = tempfile.mkdtemp(prefix="tidemill-streams-"), tempfile.TemporaryFile("w+")
    process = start(identity, source, output, state, log)
    try:
        for number, words in enumerate(lines):
            for word in words:
                wanted[word] += 1
            writer.produce(source, " ".join(words), partition=number % 2)
            if number == LINES // 2:
                writer.flush(common.SECONDS_MAX)
                wait_for(LINES * WORDS_A_LINE // 4, output, process, log)
        # The second half is on its way when it dies.
        process.kill()
        process.wait()
        writer.flush(common.SECONDS_MAX)
        process = start(identity, source, output, state, log)
        wait_for(LINES * WORDS_A_LINE, output, process, log)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(state, ignore_errors=True)
    seen = counts(output)
    for word in WORDS:
        check(f"{word} is counted once for each time", seen[word] == list(range(1, wanted[word] + 1)), True)
    (INTEROP / "streams.json").write_text(json.dumps({"tools": [{
        "tool": "Kafka Streams",
        "job": "word count with `processing.guarantee=exactly_once_v2`, killed with `kill -9` and restarted: every count exactly once",
    }]}))


main()
