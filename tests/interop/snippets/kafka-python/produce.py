import os

from kafka import KafkaProducer

producer = KafkaProducer(bootstrap_servers=os.environ.get("BOOTSTRAP", "localhost:9092"))
stored = producer.send("greetings", key=b"kafka-python", value=b"hello from kafka-python").get(timeout=30)
print(f"stored at {stored.topic}-{stored.partition}@{stored.offset}")
producer.close()
