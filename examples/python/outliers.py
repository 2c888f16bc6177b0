"""A processor that finds readings far from what their sensor has said so far.

A record is one reading: the key names the sensor, the value is JSON with a number. What is known of a sensor (count, mean and
spread of its readings) is in the store, so it commits together with the alerts. Config:

- `field`: the field that holds the number, `value` by default.
- `deviations`: how many standard deviations are far, 4 by default.
- `readings_min`: how many readings are needed before any is judged, 10 by default.
- `output`: the topic of the alerts, `outliers` by default.
"""

import json
import math
from dataclasses import asdict, dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.typed_processor import RecordIn, RecordOut, Source, Timer
from wit_world.imports import config, metrics
from wit_world.imports.state import Store
from wit_world.imports.timers import Domain
from wit_world.imports.types import Context, Fault, FaultReason


@dataclass
class Sensor:
    """Welford's running mean and variance: exact enough, and three numbers whatever the count."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def learn(self, reading: float) -> None:
        self.count += 1
        before = reading - self.mean
        self.mean += before / self.count
        self.squares += before * (reading - self.mean)

    def deviations(self, reading: float) -> float:
        """How many standard deviations a reading is away from the mean."""
        distance = abs(reading - self.mean)
        spread = math.sqrt(self.squares / self.count)
        return distance / spread if spread else math.inf if distance else 0.0


@dataclass
class Settings:
    field: str
    far: float
    readings_min: int
    output: str


# Each call gets a new `TypedProcessor`: what is to last from one to the next is the module's.
settings: Settings


class TypedProcessor(exports.TypedProcessor):
    def init(self, context: Context) -> None:
        global settings
        try:
            settings = Settings(
                field=config.get("field") or "value",
                far=float(config.get("deviations") or 4),
                readings_min=int(config.get("readings_min") or 10),
                output=config.get("output") or "outliers",
            )
        except ValueError as error:
            raise Err(f"the config is not usable: {error}") from error

    def process(self, source: Source, batch: list[RecordIn]) -> list[RecordOut]:
        with Store("sensors") as sensors:
            alerts = []
            for index, record in enumerate(batch):
                try:
                    alert = judge(sensors, record)
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                    raise Err(Fault(index, FaultReason.REJECT, f"not a reading: {error!r}")) from error
                if alert:
                    metrics.add("outliers", 1)
                    value = json.dumps(alert).encode()
                    alerts.append(RecordOut(settings.output, None, None, record.key, value, record.headers, index))
            return alerts

    def on_timers(self, domain: Domain, attempt: int, due: list[Timer]) -> list[RecordOut]:
        # It sets none.
        return []


def judge(sensors: Store, record: RecordIn) -> dict | None:
    """Takes note of a reading, and says what is strange about it."""
    if not record.key or record.value is None:
        raise ValueError("it has no key or no value")
    reading = float(json.loads(record.value)[settings.field])
    if not math.isfinite(reading):
        raise ValueError(f"{reading} is no number")
    known = sensors.get(record.key)
    sensor = Sensor(**json.loads(known)) if known else Sensor()
    deviations = sensor.deviations(reading) if sensor.count >= settings.readings_min else 0.0
    if deviations <= settings.far:
        # An outlier does not move the mean: a broken sensor does not become the new normal.
        sensor.learn(reading)
        sensors.put(record.key, json.dumps(asdict(sensor)).encode())
        return None
    return {"reading": reading, "mean": round(sensor.mean, 3), "readings": sensor.count}
