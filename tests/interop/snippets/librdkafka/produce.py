import os

from confluent_kafka import Producer


def delivered(error, message):
    if error:
        raise SystemExit(f"not stored: {error}")
    print(f"stored at {message.topic()}-{message.partition()}@{message.offset()}")


producer = Producer({"bootstrap.servers": os.environ.get("BOOTSTRAP", "localhost:9092")})
producer.produce("greetings", key="confluent-kafka", value="hello from confluent-kafka", on_delivery=delivered)
producer.flush()
