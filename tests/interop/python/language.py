"""The language in which the compatibility suite speaks to every client, and its loop for clients in Python.

A program (this directory's with_*.py, java/, go/, node/, rust/) reads one JSON object a line from stdin and answers
each with one JSON object a line on stdout, in order. `{"do": COMMAND, …}` is answered by the fields below, or by
`{"error": TEXT, "code": N}` with Kafka's number of the error, a negative number if the client itself refused. Keys
and values are text or null, headers a list of [name, text or null].

    hello       bootstrap, seconds                  client, version: what speaks; gives up after so many seconds
  administration
    create_topic      topic, partitions, config
    describe_topic    topic                         partitions
    grow_topic        topic, partitions
    delete_topic      topic
    describe_config   topic                         config
    alter_config      topic, config                 null takes a value back
    delete_records    topic, partition, before      low
    offsets           topic, partition              earliest, latest
    describe_group    group                         state, members
    group_offsets     group, topic                  offsets: by partition
    delete_group      group
  producers, by name
    producer          name; compression, idempotent, transactional_id, transaction_timeout_ms, bootstrap
    send              name, records                 offsets; records have topic, partition, key, value, headers, timestamp
    begin, commit, abort    name
    send_offsets      name, consumer, offsets       offsets: topic, partition, offset each
  consumers, by name
    consumer          name; group, isolation, strategy, protocol; the session time-out is 6 s
    assign            name, topic, partition, offset or time
    subscribe         name, topic
    poll              name, count, ms, commit       records, assignment: after `count` records, `ms` or both;
                                                    `commit`: what was returned before is committed first, or
                                                    commit_error says why not
    close             name                          of a producer or consumer
    session           name, consumer, group, topic, transactional_id    a producer and a subscribed consumer, whose offsets
                                                    its transactions commit; in franz-go both are one client
"""

import json
import os
import sys
import threading
import traceback

NEVER = -1


class Refused(Exception):
    """The broker or the client said no."""

    def __init__(self, text, code=NEVER):
        super().__init__(text)
        self.code = code


def end_after(seconds):
    clock = threading.Timer(seconds, os._exit, (3,))
    clock.daemon = True
    clock.start()


def session(client, name, consumer, group, topic, transactional_id):
    client.producer(name, transactional_id=transactional_id)
    client.consumer(consumer, group=group)
    client.subscribe(consumer, topic)


def serve(client):
    """Answers commands until stdin ends. `client` has a method for each command, and `refusal(error)`."""
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        try:
            if name == "hello":
                end_after(command.pop("seconds"))
            answer = (session(client, **command) if name == "session" else getattr(client, name)(**command)) or {}
        except Exception as error:
            refused = error if isinstance(error, Refused) else client.refusal(error)
            if refused is None:
                traceback.print_exc()
                refused = Refused(f"{type(error).__name__}: {error}")
            answer = {"error": str(refused), "code": refused.code}
        print(json.dumps(answer), flush=True)
    # What a client still has under way does not matter any more.
    os._exit(0)


def as_bytes(text):
    return None if text is None else text.encode()


def as_text(data):
    return None if data is None else bytes(data).decode()


def headers_out(headers):
    return [(name, as_bytes(value)) for name, value in headers or []]


def headers_in(headers):
    return [[name, as_text(value)] for name, value in headers or []]
