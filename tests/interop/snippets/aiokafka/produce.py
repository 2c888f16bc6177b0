import asyncio
import os

from aiokafka import AIOKafkaProducer


async def main():
    producer = AIOKafkaProducer(bootstrap_servers=os.environ.get("BOOTSTRAP", "localhost:9092"), enable_idempotence=True)
    await producer.start()
    try:
        stored = await producer.send_and_wait("greetings", key=b"aiokafka", value=b"hello from aiokafka")
        print(f"stored at {stored.topic}-{stored.partition}@{stored.offset}")
    finally:
        await producer.stop()


asyncio.run(main())
