import asyncio
import os

from aiokafka import AIOKafkaConsumer


async def main():
    consumer = AIOKafkaConsumer(
        "greetings",
        bootstrap_servers=os.environ.get("BOOTSTRAP", "localhost:9092"),
        group_id="greeters-aiokafka",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        async for record in consumer:
            print(f"{record.key.decode()}: {record.value.decode()}", flush=True)
            await consumer.commit()
    finally:
        await consumer.stop()


asyncio.run(main())
