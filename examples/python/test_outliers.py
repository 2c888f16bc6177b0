import json
import unittest
from unittest.mock import patch

from componentize_py_types import Err
from wit_world.exports.typed_processor import RecordIn, Source
from wit_world.imports.types import Context, FaultReason, Header

import outliers


class StoreInMemory:
    entries: dict[bytes, bytes] = {}

    def __init__(self, name: str) -> None:
        assert name == "sensors"

    def __enter__(self) -> "StoreInMemory":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.entries[key] = value


def reading(value: object, sensor: bytes | None = b"a") -> RecordIn:
    return RecordIn(0, 0, sensor, json.dumps({"value": value}).encode(), [Header("unit", None)])


class OutliersTest(unittest.TestCase):
    def setUp(self) -> None:
        self.config: dict[str, str] = {"readings_min": "4"}
        self.counted: list[tuple[str, int]] = []
        StoreInMemory.entries = {}
        for name, fake in [
            ("config.get", self.config.get),
            ("metrics.add", lambda *counted: self.counted.append(counted)),
            ("Store", StoreInMemory),
        ]:
            patcher = patch(f"outliers.{name}", fake)
            patcher.start()
            self.addCleanup(patcher.stop)

    def process(self, *batch: RecordIn) -> list:
        processor = outliers.TypedProcessor()
        processor.init(Context("proc", "readings", 0))
        return processor.process(Source("readings", 0, 0), list(batch))

    def test_a_reading_far_from_the_others_is_told(self) -> None:
        [alert] = self.process(*map(reading, [20, 21, 20, 21, 35]))
        self.assertEqual(json.loads(alert.value), {"reading": 35.0, "mean": 20.5, "readings": 4})
        self.assertEqual((alert.topic, alert.key, alert.headers), ("outliers", b"a", [Header("unit", None)]))
        self.assertEqual(alert.source, 4)
        self.assertEqual(self.counted, [("outliers", 1)])

    def test_what_is_known_of_a_sensor_goes_on_in_the_store(self) -> None:
        for value in [20, 21, 20, 21]:
            self.assertEqual(self.process(reading(value)), [])
        self.assertEqual(len(self.process(reading(35), reading(20.5), reading(36))), 2)

    def test_sensors_are_judged_apart_and_not_before_enough_is_known(self) -> None:
        self.assertEqual(self.process(*map(reading, [1, 1, 1]), reading(99, b"b"), reading(99, b"b")), [])

    def test_a_sensor_that_never_varies_is_far_off_with_any_change(self) -> None:
        self.assertEqual(len(self.process(*map(reading, [5, 5, 5, 5, 5, 5.1]))), 1)

    def test_what_is_no_reading_is_rejected_with_its_place(self) -> None:
        bad = [reading("much"), reading(None), reading(1, None), RecordIn(0, 0, b"a", None, [])]
        bad += [RecordIn(0, 0, b"a", value, []) for value in (b"{}", b"[", b"[1]", b"\xff", b"[" * 100_000, b'{"value":NaN}')]
        for record in bad:
            with self.assertRaises(Err) as raised:
                self.process(reading(1), record)
            fault = raised.exception.value
            self.assertEqual((fault.index, fault.reason), (1, FaultReason.REJECT))

    def test_a_config_that_is_no_number_is_refused(self) -> None:
        self.config["deviations"] = "many"
        with self.assertRaisesRegex(Err, "could not convert"):
            self.process()


if __name__ == "__main__":
    unittest.main()
