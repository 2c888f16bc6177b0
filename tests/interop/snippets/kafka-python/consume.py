import os

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    "greetings",
    bootstrap_servers=os.environ.get("BOOTSTRAP", "localhost:9092"),
    group_id="greeters-kafka-python",
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    isolation_level="read_committed",
)
for record in consumer:
    print(f"{record.key.decode()}: {record.value.decode()}", flush=True)
    consumer.commit()
