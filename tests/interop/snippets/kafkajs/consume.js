const { Kafka } = require('kafkajs');

async function main() {
  const kafka = new Kafka({ brokers: [process.env.BOOTSTRAP || 'localhost:9092'] });
  const consumer = kafka.consumer({ groupId: 'greeters-kafkajs' });
  await consumer.connect();
  await consumer.subscribe({ topics: ['greetings'], fromBeginning: true });
  await consumer.run({
    // What a handled message leaves behind is committed by itself.
    eachMessage: async ({ message }) => console.log(`${message.key}: ${message.value}`),
  });
}

main();
