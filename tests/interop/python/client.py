#!/usr/bin/env python3
"""librdkafka's Python client behind a small command line, which the Java and Go programs beside it share.

    --mode idempotent|transactional --bootstrap HOST:PORT --topic T --batches FILE
        [--transactional-id X] [--compression CODEC] [--records step|alone]
    --mode consume --bootstrap HOST:PORT --topic T [--until VALUE]
    and everywhere [--seconds N], after which the program gives up

FILE has one step a line, fields separated by tabs: what follows the step (flush, commit or abort), then the values
to send to partition 0. All of a step's records go as one batch (`--records alone`: each as its own, several under
way). Each client then does what its users do. An idempotent producer goes on after a refused record. In a
transaction, the next of which begins with the next step, a failed send leads to an abort: at `commit` Java and
librdkafka try to commit nevertheless and are told by the exception, franz-go's users ask the promises.

One JSON line on stdout for each of these:

    {"value": V, "offset": N}                                           a record was acknowledged
    {"value": V, "error": NAME, "code": N, "message": M}                or not
    {"commit": "ok"}   {"commit": "error", "error": …}   {"abort": "ok"}
    {"value": V, "offset": N, "headers": {…}}                           a record was read (read_committed)
    {"end": N, "position": N}                                           the end was reached; with --until it reads on
    {"fatal": …}                                                        it could not go on; status 1
"""

import argparse
import json
import os
import sys
import threading

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

NEVER_MS = 30_000


def say(**fields):
    print(json.dumps(fields), flush=True)


def end_after(seconds):
    def end():
        say(fatal=f"not done after {seconds} s")
        os._exit(1)

    clock = threading.Timer(seconds, end)
    clock.daemon = True
    clock.start()


def fields(error):
    return {"error": error.name(), "code": error.code(), "message": error.str()}


class Steps:
    """The steps of one producer. Lines are printed at a step's end: an abort reports records too."""

    def __init__(self, producer, options):
        self.producer, self.options = producer, options
        self.transactional = options.mode == "transactional"
        self.is_open = False
        self.outcomes = []

    def step(self, then, values):
        if self.transactional and not self.is_open:
            self.producer.begin_transaction()
            self.is_open = True
        self.outcomes, ends = [None] * len(values), []
        for at, value in enumerate(values):
            self.producer.produce(self.options.topic, value, partition=0, on_delivery=self._delivered(at))
        good = self._commit(ends) if then == "commit" and self.transactional else self._flush()
        if self.transactional and (then == "abort" or not good):
            self.producer.abort_transaction(self.options.seconds)
            ends.append({"abort": "ok"})
            self.is_open = False
        for value, outcome in zip(values, self.outcomes):
            say(value=value, **outcome)
        for end in ends:
            say(**end)

    def _delivered(self, at):
        def report(error, message):
            self.outcomes[at] = fields(error) if error else {"offset": message.offset()}

        return report

    def _flush(self):
        """Until all is known; in a transaction until the first failure, after which librdkafka sends nothing more."""
        while self.producer.flush(0.1) > 0:
            if self.transactional and any("error" in outcome for outcome in self.outcomes if outcome):
                return False
        return all("offset" in outcome for outcome in self.outcomes)

    def _commit(self, ends):
        """A commit flushes; it fails if a send failed."""
        try:
            self.producer.commit_transaction(self.options.seconds)
        except KafkaException as error:
            ends.append({"commit": "error", **fields(error.args[0])})
            return False
        ends.append({"commit": "ok"})
        self.is_open = False
        return True


def produce(options):
    alone = options.records == "alone"
    config = {
        "bootstrap.servers": options.bootstrap, "enable.idempotence": True, "acks": "all",
        "compression.type": options.compression, "linger.ms": 0 if alone else NEVER_MS,
        "batch.num.messages": 1 if alone else 10_000,
    }
    if options.mode == "transactional":
        config["transactional.id"] = options.transactional_id
    producer = Producer(config)
    if options.mode == "transactional":
        producer.init_transactions(options.seconds)
    steps = Steps(producer, options)
    with open(options.batches) as lines:
        for line in lines:
            then, *values = line.rstrip("\n").split("\t")
            steps.step(then, values)


def consume(options):
    consumer = Consumer({
        "bootstrap.servers": options.bootstrap, "group.id": "nobody", "enable.auto.commit": False,
        "isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 200, "check.crcs": True,
    })
    partition = TopicPartition(options.topic, 0, OFFSET_BEGINNING)
    consumer.assign([partition])
    _, end = consumer.get_watermark_offsets(partition, options.seconds)
    ended, wanted = False, options.until is not None
    while wanted or not ended:
        message = consumer.poll(1)
        if message is None:
            continue
        error = message.error()
        if error is None:
            headers = {key: value.decode() for key, value in message.headers() or []}
            say(value=message.value().decode(), offset=message.offset(), headers=headers)
            wanted = wanted and message.value().decode() != options.until
        elif error.code() != KafkaError._PARTITION_EOF:
            if error.fatal():
                raise KafkaException(error)
            say(**fields(error))
        elif not ended:
            ended = True
            # Where it stands: librdkafka's position() is behind the last message that the application got.
            say(end=end, position=message.offset())
    consumer.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mode", choices=("idempotent", "transactional", "consume"), required=True)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--compression", default="none")
    arguments.add_argument("--records", choices=("step", "alone"), default="step")
    for name in ("bootstrap", "topic", "batches", "transactional-id", "until"):
        arguments.add_argument(f"--{name}")
    options = arguments.parse_args()
    end_after(options.seconds)
    try:
        (consume if options.mode == "consume" else produce)(options)
    except KafkaException as error:
        say(fatal=str(error))
        sys.exit(1)


main()
