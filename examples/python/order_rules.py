"""An interceptor that refuses orders whose numbers do not add up, before they are in the log.

A value is JSON: `{"currency": "EUR", "total": "12.50", "items": [{"quantity": 2, "price": "6.25"}]}`. What is not one is refused as
INVALID_RECORD. Config:

- `currencies`: those that are taken, comma-separated; `EUR,USD` by default.
- `total_max`: larger orders are refused as POLICY_VIOLATION; no limit by default.

Tombstones pass.
"""

import json
from decimal import Decimal, DecimalException

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.typed_interceptor import PassingRecord, Verdict, Verdict_Keep, Verdict_Reject
from wit_world.imports import config, metrics
from wit_world.imports.interception import Acknowledgement, Attachment, Origin, Rejection, RejectionCode


# Each call gets a new `TypedInterceptor`: what is to last from one to the next is the module's.
currencies: set[str]
total_max: Decimal


class TypedInterceptor(exports.TypedInterceptor):
    def configure(self, attachment: Attachment) -> None:
        global currencies, total_max
        currencies = set((config.get("currencies") or "EUR,USD").split(","))
        try:
            total_max = Decimal(config.get("total_max") or "Infinity")
        except DecimalException as error:
            raise Err("the config key `total_max` is no number") from error

    def on_send(self, origin: Origin, batch: list[PassingRecord]) -> list[Verdict]:
        return [judge(record) for record in batch]

    def on_consume(self, origin: Origin, batch: list[PassingRecord]) -> list[Verdict]:
        return [Verdict_Keep() for _ in batch]

    def on_acknowledgement(self, acknowledgements: list[Acknowledgement]) -> None:
        pass

    def close(self) -> None:
        pass


def judge(record: PassingRecord) -> Verdict:
    if record.value is None:
        return Verdict_Keep()
    try:
        order = json.loads(record.value, parse_float=Decimal)
        currency, total = str(order["currency"]), Decimal(order["total"])
        sum_of_items = sum(Decimal(item["quantity"]) * Decimal(item["price"]) for item in order["items"])
    except (ValueError, KeyError, TypeError, DecimalException, RecursionError) as error:
        return refuse(RejectionCode.INVALID_RECORD, f"this is no order: {error!r}")
    if currency not in currencies:
        return refuse(RejectionCode.INVALID_RECORD, f"the currency {currency} is not taken")
    if total != sum_of_items:
        return refuse(RejectionCode.INVALID_RECORD, f"the total is {total}, and the items' sum {sum_of_items}")
    if total > total_max:
        return refuse(RejectionCode.POLICY_VIOLATION, f"a total of {total} needs another way in")
    return Verdict_Keep()


def refuse(code: RejectionCode, message: str) -> Verdict:
    metrics.add("refused", 1)
    return Verdict_Reject(Rejection(code, message))
