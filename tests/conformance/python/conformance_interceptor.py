"""The conformance list's interceptor in Python: see ../README.md."""

import order_rules
from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.exports.typed_interceptor import (
    NewRecord, PassingRecord, Verdict, Verdict_Drop, Verdict_Keep, Verdict_Reject, Verdict_Replace,
)
from wit_world.imports import config, log, metrics
from wit_world.imports.interception import Acknowledgement, Attachment, Origin, Rejection, RejectionCode

from conformance import command, spin, start


# The language's example, if the config asks for it. Each call gets a new `TypedInterceptor`.
example: order_rules.TypedInterceptor | None = None


class TypedInterceptor(exports.TypedInterceptor):
    def configure(self, attachment: Attachment) -> None:
        global example
        start(attachment.name)
        if config.get("example"):
            example = order_rules.TypedInterceptor()
            example.configure(attachment)

    def on_send(self, origin: Origin, batch: list[PassingRecord]) -> list[Verdict]:
        if example:
            return example.on_send(origin, batch)
        return [judge("send", origin, record) for record in batch]

    def on_consume(self, origin: Origin, batch: list[PassingRecord]) -> list[Verdict]:
        return [judge("consume", origin, record) for record in batch]

    def on_acknowledgement(self, acknowledgements: list[Acknowledgement]) -> None:
        for told in acknowledgements:
            outcome = told.outcome.value if isinstance(told.outcome, (Ok, Err)) else told.outcome
            log.write(log.Level.INFO, f"acknowledged {told.topic} {told.partition} {told.record_count} {outcome}")

    def close(self) -> None:
        log.write(log.Level.INFO, "closed")


def judge(path: str, origin: Origin, record: PassingRecord) -> Verdict:
    def replace(value: bytes | None, timestamp: int | None = None) -> Verdict:
        return Verdict_Replace(NewRecord(timestamp, record.key, value, record.headers))

    match command(record.headers):
        case ["copy"]:
            return replace(record.value)
        case ["keep"]:
            return Verdict_Keep()
        case ["drop"]:
            return Verdict_Drop()
        case ["replace", *words]:
            return replace(" ".join(words).encode())
        case ["erase"]:
            return Verdict_Replace(NewRecord(None, None, None, []))
        case ["retime", timestamp]:
            return replace(record.value, int(timestamp))
        case ["reject", code, *words]:
            return Verdict_Reject(Rejection(RejectionCode[code.upper().replace("-", "_")], " ".join(words)))
        case ["config", key]:
            value = config.get(key)
            return replace(None if value is None else value.encode())
        case ["where"]:
            offset = "-" if record.offset is None else record.offset
            transactional = "yes" if origin.transactional else "no"
            words = (path, origin.principal, origin.client_id, origin.topic, origin.partition, transactional, offset)
            return replace(" ".join(map(str, (*words, record.timestamp))).encode())
        case ["log", level, *words]:
            log.write(log.Level[level.upper()], " ".join(words))
        case ["print", *words]:
            print(*words)
        case ["count", counter, value]:
            metrics.add(counter, int(value))
        case ["fail", *words]:
            raise Err(" ".join(words))
        case ["trap", *words]:
            raise RuntimeError(" ".join(words))
        case ["loop"]:
            spin()
        case ["grow"]:
            bytearray(1 << 30)
        case other:
            raise Err(f"unheard of: {other}")
    return Verdict_Keep()
