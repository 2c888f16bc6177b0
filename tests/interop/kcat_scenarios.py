"""kcat: metadata, produce, consume, groups, transactions, codecs."""

import subprocess


def kcat(broker, *arguments, stdin=None):
    done = subprocess.run(["kcat", "-b", broker.bootstrap, *arguments], input=stdin, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, f"kcat {' '.join(arguments)}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def consume(broker, topic, *arguments):
    return kcat(broker, "-C", "-t", topic, "-e", "-q", *arguments)


def lists_metadata(broker):
    broker.command("topic", "create", "kcat-meta", "--partitions", "3")
    listing = kcat(broker, "-L")
    assert "1 brokers" in listing and f"at {broker.bootstrap}" in listing, listing
    assert 'topic "kcat-meta" with 3 partitions' in listing, listing


def produces_and_consumes_keys_and_headers(broker):
    kcat(broker, "-P", "-t", "kcat-keys", "-K", ":", "-H", "source=interop", stdin="a:1\nb:2\nc:3\n")
    text = consume(broker, "kcat-keys", "-f", "%o %k %s %h\n")
    assert text == "0 a 1 source=interop\n1 b 2 source=interop\n2 c 3 source=interop\n", text


def consumes_every_codec(broker):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = f"kcat-{codec}"
        lines = "".join(f"{codec} line {number}\n" for number in range(500))
        kcat(broker, "-P", "-t", topic, "-z", codec, stdin=lines)
        text = consume(broker, topic)
        assert text == lines, f"{codec}: {len(text)} bytes instead of {len(lines)}"


def begins_at_offsets_and_counts_from_the_end(broker):
    kcat(broker, "-P", "-t", "kcat-offsets", stdin="".join(f"{number}\n" for number in range(10)))
    assert consume(broker, "kcat-offsets", "-o", "7") == "7\n8\n9\n"
    assert consume(broker, "kcat-offsets", "-o", "-2") == "8\n9\n"
    assert consume(broker, "kcat-offsets", "-o", "beginning", "-c", "1") == "0\n"


def queries_offsets_by_time(broker):
    kcat(broker, "-P", "-t", "kcat-time", stdin="x\n")
    answer = kcat(broker, "-Q", "-t", "kcat-time:0:-1")
    assert "kcat-time [0] offset 1" in answer, answer
    answer = kcat(broker, "-Q", "-t", "kcat-time:0:1000")
    assert "kcat-time [0] offset 0" in answer, answer


def reads_as_a_group_and_goes_on_where_it_stopped(broker):
    settings = ["-X", "auto.offset.reset=earliest"]
    kcat(broker, "-P", "-t", "kcat-group", stdin="one\ntwo\n")
    assert kcat(broker, *settings, "-q", "-e", "-G", "kcat-g", "kcat-group") == "one\ntwo\n"
    kcat(broker, "-P", "-t", "kcat-group", stdin="three\n")
    assert kcat(broker, *settings, "-q", "-e", "-G", "kcat-g", "kcat-group") == "three\n"


def produces_in_a_transaction(broker):
    kcat(broker, "-P", "-t", "kcat-txn", "-X", "transactional.id=kcat", stdin="all\nor\nnothing\n")
    text = consume(broker, "kcat-txn", "-X", "isolation.level=read_committed")
    assert text == "all\nor\nnothing\n", text


SCENARIOS = [
    lists_metadata,
    produces_and_consumes_keys_and_headers,
    consumes_every_codec,
    begins_at_offsets_and_counts_from_the_end,
    queries_offsets_by_time,
    reads_as_a_group_and_goes_on_where_it_stopped,
    produces_in_a_transaction,
]
