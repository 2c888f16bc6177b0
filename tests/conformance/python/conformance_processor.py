"""The conformance list's processor in Python: see ../README.md."""

import random as python_random
import time

import outliers
from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.typed_processor import RecordIn, RecordOut, Source, Timer
from wit_world.imports import clock, config, log, metrics, random, timers
from wit_world.imports.state import Direction, KeyRange, Store
from wit_world.imports.timers import Domain
from wit_world.imports.types import Context, Fault, FaultReason

from conformance import command, spin, start


# The language's example, if the config asks for it. Each call gets a new `TypedProcessor`.
example: outliers.TypedProcessor | None = None


class TypedProcessor(exports.TypedProcessor):
    def init(self, context: Context) -> None:
        global example
        start(f"{context.processor} {context.topic} {context.partition}")
        if config.get("example"):
            example = outliers.TypedProcessor()
            example.init(context)

    def process(self, source: Source, batch: list[RecordIn]) -> list[RecordOut]:
        if example:
            return example.process(source, batch)
        sent: list[RecordOut] = []
        for index, record in enumerate(batch):
            obey(source, record, index, sent)
        return sent

    def on_timers(self, domain: Domain, attempt: int, due: list[Timer]) -> list[RecordOut]:
        sent: list[RecordOut] = []
        for index, timer in enumerate(due):
            if timer.payload == b"reject":
                raise Err(Fault(index, FaultReason.REJECT, "a bad timer"))
            name = "event" if domain == Domain.EVENT_TIME else "processing"
            value = f"{name} {timer.at} {attempt} {timer.payload.decode()}".encode()
            sent.append(RecordOut("out", None, None, timer.id, value, [], index))
        return sent


def domain_of(word: str) -> Domain:
    return Domain.EVENT_TIME if word == "event" else Domain.PROCESSING_TIME


def obey(source: Source, record: RecordIn, index: int, sent: list[RecordOut]) -> None:
    def send(value: bytes | None, topic: str = "out", partition: int | None = None, timestamp: int | None = None) -> None:
        sent.append(RecordOut(topic, partition, timestamp, record.key, value, record.headers, index))

    def answer(*words: object) -> None:
        send(" ".join(map(str, words)).encode())

    def fault(reason: FaultReason, message: str) -> Err[Fault]:
        return Err(Fault(index, reason, message))

    match command(record.headers):
        case ["copy"]:
            send(record.value)
        case ["nothing"]:
            pass
        case ["send", topic, partition, timestamp]:
            send(record.value, topic, int(partition), int(timestamp))
        case ["config", key]:
            value = config.get(key)
            send(None if value is None else value.encode())
        case ["where"]:
            answer(source.topic, source.partition, source.attempt, record.offset, record.timestamp)
        case ["log", level, *words]:
            log.write(log.Level[level.upper()], " ".join(words))
        case ["print", *words]:
            print(*words)
        case ["count", counter, value]:
            metrics.add(counter, int(value))
        case ["reject", *words]:
            raise fault(FaultReason.REJECT, " ".join(words))
        case ["retry", *words]:
            raise fault(FaultReason.RETRY, " ".join(words))
        case ["fatal", *words]:
            raise fault(FaultReason.FATAL, " ".join(words))
        case ["trap", *words]:
            raise RuntimeError(" ".join(words))
        case ["loop"]:
            spin()
        case ["grow"]:
            bytearray(1 << 30)
        case ["put", key]:
            Store("s").put(key.encode(), record.value or b"")
        case ["get", key]:
            send(Store("s").get(key.encode()))
        case ["delete", key]:
            Store("s").delete(key.encode())
        case ["add", key, delta]:
            answer(Store("s").add(key.encode(), int(delta)))
        case ["scan", first, last, direction, limit]:
            key_range = KeyRange(first.encode(), last.encode())
            page = Store("s").scan(key_range, Direction[direction.upper()], int(limit))
            entries = [f"{entry.key.decode()}={entry.value.decode()}" for entry in page.entries]
            answer(*entries, "more" if page.more else "end")
        case ["timer", domain, key, at]:
            timers.set(domain_of(domain), key.encode(), int(at), record.value or b"")
        case ["cancel", domain, key]:
            answer(str(timers.cancel(domain_of(domain), key.encode())).lower())
        case ["clock"]:
            stream_time = clock.stream_time()
            answer(clock.now(), "-" if stream_time is None else stream_time)
        case ["random"]:
            answer(random.next(), random.next())
        case ["ambient"]:
            answer(time.time_ns() // 1_000_000, python_random.random())
        case other:
            raise fault(FaultReason.REJECT, f"unheard of: {other}")
