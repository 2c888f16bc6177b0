const { Kafka } = require('kafkajs');

async function main() {
  const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP || 'localhost:9092'] });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const [stored] = await producer.send({
    topic: 'greetings',
    messages: [{ key: 'kafkajs', value: 'hello from kafkajs' }],
  });
  console.log(`stored at ${stored.topicName}-${stored.partition}@${stored.baseOffset}`);
  await producer.disconnect();
}

main();
