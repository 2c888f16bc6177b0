"""Interceptors under foreign clients: idempotence, transactions and consumers stay whole.

An interceptor that keeps, replaces, drops or refuses records by what they say stands between the broker and Java's
client, franz-go and librdkafka. Each runs the same steps; what it reports, what is in the log and what consumers
read is compared with a model. SEED=... tries other steps.
"""

import concurrent.futures
import os
import random
import subprocess

import programs
import raw_log
from common import BOOTSTRAP, SECONDS_MAX, check, new_topic, read_all, tidemill, unique
from proxy import Proxy

SEED = int(os.environ.get("SEED", "1"))
STEPS = 40
# The machine has two cores, and clients wait more than they work.
AT_ONCE = 3
MODULE = programs.TARGET / "guests" / "test-interceptor-flat.wasm"
SENDING, READING = unique("sending"), unique("reading")
# Which answers to produce requests get lost, some of them twice in a row.
CUT = (2, 5, 6, 11, 17, 18, 19, 30)
# Here each takes the answers of all that is under way with it, so that not all of these are asked for.
CUT_STREAM = range(5, 150, 15)
# More than the ten answers without records after which librdkafka gives up, were they not control batches.
DROPPED_ONE_BY_ONE = 15

# Forms of batches: keep, replace, drop, refuse as an invalid record (x) and as a violation of policy (p).
KINDS = {"k": "keep", "r": "replace", "d": "drop", "x": "reject", "p": "policy"}
FORMS = ["k", "r", "d", "ddd", "dkk", "kdk", "kkd", "drd", "dkrkd", "x", "xk", "kxd", "kkx", "xkx", "dxd", "p", "kpr", "pkp"]
CODES = {"reject": ("INVALID_RECORD", 87), "policy": ("POLICY_VIOLATION", 44)}


# ---------------------------------------------------------------- what is sent

def value(kind, number, length):
    return f"{KINDS[kind]}:{number} ".ljust(length, "abcdefghij"[number % 10])


def steps_of(dice, transactional):
    """Steps as programs.produce takes them: all forms and as many by chance, in an order by chance."""
    forms = list(FORMS)
    while len(forms) < STEPS:
        kinds = dice.choice(["kkrdd"] * 3 + ["kkrddx", "krdp"])
        forms.append("".join(dice.choices(kinds, k=dice.randint(1, 8))))
    dice.shuffle(forms)
    numbers = iter(range(10_000))
    steps = []
    for form in forms:
        then = dice.choice(["flush", "commit", "commit", "abort"]) if transactional else "flush"
        steps.append((then, [value(kind, next(numbers), dice.randint(0, 200)) for kind in form]))
    return steps + [("commit" if transactional else "flush", [value("k", next(numbers), 0)])]


def stream_of(dice, kinds):
    """Steps whose records go as a batch each, with several under way: no two fit into 512 bytes, franz-go's minimum."""
    numbers = iter(range(10_000))
    return [("flush", [value(dice.choice(kinds), next(numbers), 300) for _ in range(25)]) for _ in range(6)]


# ---------------------------------------------------------------- the model

def kind_of(text):
    return text.split(":")[0]


def judged(offset, text, attachment):
    """What is read of a record that was accepted: nothing if it was dropped."""
    if kind_of(text) == "drop":
        return []
    if kind_of(text) == "replace":
        return [(offset, "replaced:" + text.removeprefix("replace:"), {"intercepted": attachment})]
    return [(offset, text, {})]


def refusal(client, values, attachment):
    """(error, code, message) of each record of a refused batch; message None: not compared.

    With several refused records Java and librdkafka know only that each is an invalid record. franz-go 1.22 looks at
    the batch's code alone; librdkafka 2.16's Python client shows no message of the broker, and blames all records if
    one was refused.
    """
    refused = [text for text in values if kind_of(text) in CODES]
    code = CODES[kind_of(refused[0])]
    named = code if len(refused) == 1 else CODES["reject"]
    errors = []
    for text in values:
        if client == "franz-go":
            errors.append((*code, None))
        elif client == "java":
            message = f"interceptor {attachment}: {text.split(':', 1)[1]}"
            errors.append((*named, message) if text in refused else ("KafkaException", -1, None))
        elif len(refused) == 1 or text in refused:
            errors.append((*named, None))
        else:
            errors.append(("_INVALID_DIFFERENT_RECORD", -138, None))
    return code, errors


class Model:
    """Follows a client through its steps: what it had to say, what is in the log, what a reader must see."""

    def __init__(self, client, transactional, attachment):
        self.client, self.transactional, self.attachment = client, transactional, attachment
        # The next batch's offset, and how many markers of transactions without records may stand before it.
        self.offset, self.markers = 0, 0
        self.in_transaction, self.has_appended = [], False
        self.read, self.batches = [], []
        # After a refusal in a transaction librdkafka goes on behind the refused batch's sequence numbers. If the
        # broker knows better, then it loses the next transaction too (OUT_OF_ORDER_SEQUENCE_NUMBER), and then
        # takes a new epoch.
        self.is_ahead = False

    def wanted(self, then, values, said):
        """The lines that must have been said for a step, given those that were."""
        if any(kind_of(text) in CODES for text in values):
            lost = self.is_ahead and said[0].get("error") == "_PURGE_QUEUE"
            code, errors = refusal(self.client, values, self.attachment)
        else:
            lost = self.is_ahead and "error" in said[0]
            code, errors = None, []
        if lost:
            code, errors = ("OUT_OF_ORDER_SEQUENCE_NUMBER", 45), [("_PURGE_QUEUE", -152, None)] * len(values)
        self.is_ahead = self.client == "librdkafka" and self.transactional and bool(errors) and not lost
        if errors:
            lines = [{"value": text, "error": error, "code": number} | ({"message": message} if message else {})
                     for text, (error, number, message) in zip(values, errors)]
        else:
            lines = self._accepted(values, said[0].get("offset", -1))
        return lines + (self._end(then, code) if self.transactional else [])

    def _accepted(self, values, base):
        if self.offset <= base <= self.offset + self.markers:
            self.offset, self.markers = base, 0
        self.batches.append((self.offset, len(values) - 1, sum(kind_of(text) != "drop" for text in values)))
        self.has_appended = True
        lines = []
        for text in values:
            lines.append({"value": text, "offset": self.offset})
            read = judged(self.offset, text, self.attachment)
            (self.in_transaction if self.transactional else self.read).extend(read)
            self.offset += 1
        return lines

    def _end(self, then, code):
        lines = [{"commit": "error", "error": code[0], "code": code[1]}] if code and then == "commit" else []
        if self.client == "franz-go":
            lines = []
        if then == "commit" and code is None:
            self.read += self.in_transaction
            lines = [{"commit": "ok"}]
        elif then == "abort" or code is not None:
            lines = lines + [{"abort": "ok"}]
        if lines:
            if self.has_appended:
                self.offset += 1
            else:
                self.markers += 1
            self.in_transaction, self.has_appended = [], False
        return lines


def matching(said, wanted):
    """A line that was said, without what the model says nothing of."""
    return {key: said[key] for key in said if key in wanted or key != "message"}


# ---------------------------------------------------------------- clients that send

def log_holds(what, topic, read, batches):
    seen = [(m.offset(), m.value().decode(), {key: text.decode() for key, text in m.headers() or []}) for m in read_all(topic)]
    check(f"{what}: what is read", seen, read)
    found = raw_log.batches(BOOTSTRAP, topic)
    check(f"{what}: batches in the log", [(b.base_offset, b.last_offset_delta, b.count) for b in found], batches)
    gaps = [(earlier, later) for earlier, later in zip(found, found[1:])
            if (earlier.producer, earlier.epoch) == (later.producer, later.epoch)
            and earlier.sequence + earlier.last_offset_delta + 1 != later.sequence]
    check(f"{what}: sequence numbers", gaps, [])


def runs_steps(client, mode, compression, proxy=None):
    """The steps through one client, each step one batch; through a proxy that loses answers if there is one."""
    what = f"{client}, {mode}, {compression}" + (", answers lost" if proxy else "")
    transactional = mode == "transactional"
    topic = new_topic(SENDING)
    steps = steps_of(random.Random(f"{SEED} {mode}"), transactional)
    said = programs.produce(client, steps, mode=mode, topic=topic, compression=compression,
                            bootstrap=proxy.bootstrap if proxy else BOOTSTRAP, transactional_id=topic)
    model, at = Model(client, transactional, SENDING), 0
    for number, (then, values) in enumerate(steps):
        wanted = model.wanted(then, values, said[at:])
        for want in wanted:
            got = matching(said[at], want) if at < len(said) else None
            if got != want:
                check(f"{what}: step {number}, {then} {[text[:12] for text in values]}", got, want)
            at += 1
    check(f"{what}: {len(steps)} steps, all was said", said[at:], [])
    check(f"{what}: a good part was read", len(model.read) > len(steps) / 4, True)
    log_holds(what, topic, model.read, model.batches)
    if proxy:
        check(f"{what}: they were lost", proxy.lost, len(CUT))
        proxy.close()


def runs_stream(client, kinds, proxy=None):
    """Batches of one record, several under way. Each is acknowledged once, or not there."""
    what = f"{client}, one record a batch" + (", answers lost" if proxy else "")
    topic = new_topic(SENDING)
    steps = stream_of(random.Random(f"{SEED} stream"), kinds)
    said = programs.produce(client, steps, mode="idempotent", topic=topic, records="alone",
                            bootstrap=proxy.bootstrap if proxy else BOOTSTRAP)
    check(f"{what}: all was said", [line["value"] for line in said], [text for _, values in steps for text in values])
    acknowledged = [line["value"] for line in said if "offset" in line]
    check(f"{what}: offsets", [line["offset"] for line in said if "offset" in line], list(range(len(acknowledged))))
    wanted = []
    for _, values in steps:
        good = [text for text in values if kind_of(text) not in CODES]
        if client == "franz-go" and good != values:
            # It fails all that it holds for the partition; how many it held depends on the moment.
            first = next(at for at, text in enumerate(values) if kind_of(text) in CODES)
            good = [text for at, text in enumerate(values) if text in good and (at < first or text in acknowledged)]
        wanted += good
    check(f"{what}: what was acknowledged", acknowledged, wanted)
    read = [record for offset, text in enumerate(acknowledged) for record in judged(offset, text, SENDING)]
    batches = [(offset, 0, int(kind_of(text) != "drop")) for offset, text in enumerate(acknowledged)]
    log_holds(what, topic, read, batches)
    if proxy:
        check(f"{what}: some were lost", proxy.lost >= 5, True)
        proxy.close()


def sending():
    yield from ((runs_steps, client, mode, compression)
                for client in programs.PROGRAMS for mode in ("idempotent", "transactional") for compression in ("none", "lz4"))
    yield from ((runs_steps, client, mode, "zstd") for client, mode in (("java", "transactional"), ("franz-go", "idempotent")))
    yield from ((runs_steps, client, mode, "lz4", Proxy(BOOTSTRAP, CUT))
                for client in programs.PROGRAMS for mode in ("idempotent", "transactional"))
    yield from ((runs_stream, client, "kkrddx") for client in programs.PROGRAMS)
    yield from ((runs_stream, client, "krd", Proxy(BOOTSTRAP, CUT_STREAM)) for client in programs.PROGRAMS)


# ---------------------------------------------------------------- clients that read

def forms_to_read(forms, then="flush"):
    numbers = iter(range(10_000))
    return [(then, [value(kind, next(numbers), 100) for kind in form]) for form in forms]


def kcat(topic):
    """What kcat reads, as programs.consume gives it; it ends by itself where the partition ends."""
    done = subprocess.run(
        ["kcat", "-b", BOOTSTRAP, "-C", "-q", "-e", "-t", topic, "-p", "0", "-o", "beginning", "-f", "%o %h|%s\n",
         "-X", "isolation.level=read_committed", "-X", "check.crcs=true"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX)
    check(f"kcat ends well on {topic}", (done.returncode, done.stderr), (0, ""))
    found = []
    for line in done.stdout.splitlines():
        place, text = line.split("|", 1)
        offset, headers = place.split(" ", 1)
        found.append((int(offset), text, dict([headers.split("=", 1)] if headers else [])))
    return found


def all_read(what, steps, mode, compression):
    """A topic whose records are judged on the way out, read by every client to its end."""
    topic = new_topic(READING)
    said = programs.produce("franz-go", steps, mode=mode, topic=topic, compression=compression, bootstrap=BOOTSTRAP,
                            transactional_id=topic)
    wanted, open_ones, end = [], [], 0
    for line in said:
        if "offset" in line:
            end = line["offset"] + 1
            open_ones += judged(line["offset"], line["value"], READING)
        else:
            end += 1
        if mode == "idempotent" or "commit" in line:
            wanted += open_ones
        if mode == "idempotent" or "offset" not in line:
            open_ones = []
    for client in programs.PROGRAMS:
        read, ended = programs.consume(client, bootstrap=BOOTSTRAP, topic=topic)
        check(f"{client} reads {what}", read, wanted)
        # franz-go tells nobody that it is behind a batch without records; it got nothing more there.
        position = end if client != "franz-go" else ended["position"]
        check(f"{client} reads {what} to the end", ended, {"end": end, "position": position})
    check(f"kcat reads {what}", kcat(topic), wanted)


def reads_on(client, prefix):
    """A reader that waits at the end sees nothing of batches that are dropped one by one, and gets what comes next."""
    what = f"{client} at the end of a {prefix.split('.')[0]} topic"
    topic = new_topic(prefix)

    def send(*forms):
        programs.produce("franz-go", forms_to_read(forms), mode="idempotent", topic=topic, bootstrap=BOOTSTRAP)

    send("krd", "d", "ddd")
    reader = programs.Program(client, mode="consume", topic=topic, bootstrap=BOOTSTRAP, until=value("k", 2, 100))
    before = [reader.next_line() for _ in range(3)]
    check(f"{what} has read all", ([line.get("offset") for line in before[:2]], before[2]["end"]), ([0, 1], 7))
    for _ in range(DROPPED_ONE_BY_ONE):
        send("d")
    send("ddk")
    after = reader.lines()
    errors = {line["error"] for line in after if "error" in line}
    check(f"{what}: no errors", errors, set())
    check(f"{what} reads what comes next", [(line["value"], line["offset"]) for line in after if "error" not in line],
          [(value("k", 2, 100), 7 + DROPPED_ONE_BY_ONE + 2)])


def reading():
    mixed = forms_to_read(["k", "r", "dkk", "kdk", "kkd", "d", "ddd", "rdr", "k", "dd", "d"])
    yield from ((all_read, f"records with {codec}", mixed, "idempotent", codec) for codec in ("none", "gzip", "snappy", "lz4", "zstd"))
    yield all_read, "nothing but dropped batches", forms_to_read(["d", "ddd", "dd"]), "idempotent", "lz4"
    yield all_read, "long runs of dropped batches", forms_to_read(["d"] * 150 + ["k"] + ["dd"] * 100), "idempotent", "none"
    ends = zip(["commit", "abort", "flush", "commit", "abort", "commit"], ["krd", "kk", "dd", "rk", "dd", "dd"])
    yield (all_read, "transactions", [step for then, form in ends for step in forms_to_read([form], then)],
           "transactional", "lz4")
    yield from ((reads_on, client, prefix) for client in programs.PROGRAMS for prefix in (SENDING, READING))


# ---------------------------------------------------------------- all of it

def detached():
    """What is sent and read without attachments is as it was."""
    for prefix in (SENDING, READING):
        topic = new_topic(prefix)
        (then, values), = forms_to_read(["kdrx"])
        said = programs.produce("franz-go", [(then, values)], mode="idempotent", topic=topic, bootstrap=BOOTSTRAP)
        check("detached: all is acknowledged", [line.get("offset") for line in said], [0, 1, 2, 3])
        check("detached: all is read", [m.value().decode() for m in read_all(topic)], values)


def main():
    name = unique("judge")
    tidemill("module", "push", str(MODULE), "--name", name)
    for attachment, path in ((SENDING, "produce"), (READING, "fetch")):
        tidemill("interceptor", "attach", attachment, "--module", name, "--topic", f"{attachment}.*", "--path", path)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(*run) for run in [*sending(), *reading()]]
        for run in concurrent.futures.as_completed(runs):
            try:
                run.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for attachment in (SENDING, READING):
        tidemill("interceptor", "detach", attachment, "--yes")
    detached()


main()
