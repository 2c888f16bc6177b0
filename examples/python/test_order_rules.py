import json
import unittest
from unittest.mock import patch

from componentize_py_types import Err
from wit_world.exports.typed_interceptor import PassingRecord, Verdict, Verdict_Keep, Verdict_Reject
from wit_world.imports.interception import Attachment, Origin, RejectionCode

import order_rules

ORIGIN = Origin("User:alice", "app", "orders", 0, False)
ORDER = {"currency": "EUR", "total": "12.50", "items": [{"quantity": 2, "price": "6.25"}]}


class OrderRulesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.config: dict[str, str] = {}
        for name, fake in [("config.get", self.config.get), ("metrics.add", lambda *_: None)]:
            patcher = patch(f"order_rules.{name}", fake)
            patcher.start()
            self.addCleanup(patcher.stop)

    def judge(self, value: bytes | None) -> Verdict:
        interceptor = order_rules.TypedInterceptor()
        interceptor.configure(Attachment("rules"))
        batch = [PassingRecord(None, 0, None, value, [])]
        self.assertEqual(interceptor.on_consume(ORIGIN, batch), [Verdict_Keep()])
        [verdict] = interceptor.on_send(ORIGIN, batch)
        return verdict

    def judge_order(self, **changes: object) -> Verdict:
        return self.judge(json.dumps(ORDER | changes).encode())

    def refused(self, verdict: Verdict, code: RejectionCode, words: str) -> None:
        assert isinstance(verdict, Verdict_Reject), verdict
        self.assertEqual(verdict.value.code, code)
        self.assertIn(words, verdict.value.message)

    def test_orders_that_add_up_and_tombstones_pass(self) -> None:
        self.assertEqual(self.judge_order(), Verdict_Keep())
        self.assertEqual(self.judge(None), Verdict_Keep())
        # Numbers keep their decimals: 0.1 + 0.2 is 0.3 here.
        self.assertEqual(self.judge(b'{"currency":"USD","total":0.3,"items":[{"quantity":1,"price":0.1},{"quantity":1,"price":0.2}]}'), Verdict_Keep())

    def test_a_total_that_does_not_add_up_is_refused(self) -> None:
        self.refused(self.judge_order(total="12.51"), RejectionCode.INVALID_RECORD, "the items' sum 12.50")
        self.refused(self.judge_order(total="NaN"), RejectionCode.INVALID_RECORD, "the total is NaN")

    def test_other_currencies_are_refused(self) -> None:
        self.refused(self.judge_order(currency="XXX"), RejectionCode.INVALID_RECORD, "the currency XXX")
        self.config["currencies"] = "XXX"
        self.assertEqual(self.judge_order(currency="XXX"), Verdict_Keep())

    def test_large_orders_need_another_way_in(self) -> None:
        self.config["total_max"] = "12.49"
        self.refused(self.judge_order(), RejectionCode.POLICY_VIOLATION, "another way in")

    def test_what_is_no_order_is_refused(self) -> None:
        for value in (b"", b"\xff", b"[]", b"{}", b"null", b"[" * 100_000, b'{"currency":"EUR","total":{},"items":[]}'):
            self.refused(self.judge(value), RejectionCode.INVALID_RECORD, "no order")
        self.refused(self.judge_order(items=[7]), RejectionCode.INVALID_RECORD, "no order")
        huge = [{"quantity": "9e999999", "price": "9e999999"}]
        self.refused(self.judge_order(items=huge), RejectionCode.INVALID_RECORD, "no order")

    def test_a_limit_that_is_no_number_is_refused(self) -> None:
        self.config["total_max"] = "much"
        with self.assertRaisesRegex(Err, "`total_max` is no number"):
            self.judge(None)


if __name__ == "__main__":
    unittest.main()
