package tidemill.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/** Apache Kafka's own client behind the language of ../python/language.py. */
final class Commands {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Map<String, KafkaProducer<String, String>> producers = new HashMap<>();
    private final Map<String, KafkaConsumer<String, String>> consumers = new HashMap<>();
    private String bootstrap;
    private AdminCommands admin;

    private Commands() {
    }

    static void serve() throws IOException {
        Commands commands = new Commands();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            ObjectNode answer;
            try {
                answer = commands.answer(JSON.readTree(line));
            } catch (Exception error) {
                answer = refusal(error);
            }
            Client.say(JSON.writeValueAsString(answer));
        }
        Runtime.getRuntime().halt(0);
    }

    private static ObjectNode refusal(Exception error) {
        Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
        // A producer that has failed for good says so, and why beneath it.
        Errors known = Errors.forException(cause);
        if (known == Errors.UNKNOWN_SERVER_ERROR && cause.getCause() != null) {
            known = Errors.forException(cause.getCause());
        }
        return object().put("error", cause.toString()).put("code", known.code());
    }

    static ObjectNode object() {
        return JSON.createObjectNode();
    }

    private ObjectNode answer(JsonNode asked) throws Exception {
        String name = asked.path("name").asText();
        return switch (asked.get("do").asText()) {
            case "hello" -> hello(asked);
            case "producer" -> producer(asked);
            case "consumer" -> consumer(asked);
            case "session" -> session(asked);
            case "send" -> send(producers.get(name), asked.get("records"));
            case "begin" -> {
                producers.get(name).beginTransaction();
                yield object();
            }
            case "commit" -> {
                producers.get(name).commitTransaction();
                yield object();
            }
            case "abort" -> {
                producers.get(name).abortTransaction();
                yield object();
            }
            case "send_offsets" -> sendOffsets(asked);
            case "assign" -> assign(consumers.get(name), asked);
            case "subscribe" -> {
                consumers.get(name).subscribe(List.of(asked.get("topic").asText()));
                yield object();
            }
            case "poll" -> poll(consumers.get(name), asked);
            case "close" -> close(name);
            default -> admin.answer(asked);
        };
    }

    private ObjectNode hello(JsonNode asked) {
        Client.endAfter(asked.get("seconds").asInt());
        bootstrap = asked.get("bootstrap").asText();
        admin = new AdminCommands(bootstrap);
        return object().put("client", "kafka-clients").put("version", AppInfoParser.getVersion());
    }

    // ------------------------------------------------------------ producers

    private ObjectNode producer(JsonNode asked) {
        Properties config = new Properties();
        config.put("bootstrap.servers", asked.path("bootstrap").asText(bootstrap));
        config.put("compression.type", asked.path("compression").asText("none"));
        config.put("enable.idempotence", String.valueOf(asked.path("idempotent").asBoolean() || asked.hasNonNull("transactional_id")));
        config.put("linger.ms", "2");
        config.put("retry.backoff.ms", "20");
        if (asked.hasNonNull("transactional_id")) {
            config.put("transactional.id", asked.get("transactional_id").asText());
            config.put("transaction.timeout.ms", asked.path("transaction_timeout_ms").asText("60000"));
        }
        KafkaProducer<String, String> made = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        producers.put(asked.get("name").asText(), made);
        if (asked.hasNonNull("transactional_id")) {
            made.initTransactions();
        }
        return object();
    }

    private static ObjectNode send(KafkaProducer<String, String> producer, JsonNode records) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (JsonNode given : records) {
            Long timestamp = given.hasNonNull("timestamp") ? given.get("timestamp").asLong() : null;
            ProducerRecord<String, String> record = new ProducerRecord<>(given.get("topic").asText(),
                given.path("partition").asInt(), timestamp, textOf(given.path("key")), textOf(given.path("value")));
            for (JsonNode header : given.path("headers")) {
                String value = textOf(header.get(1));
                record.headers().add(header.get(0).asText(), value == null ? null : value.getBytes(StandardCharsets.UTF_8));
            }
            sent.add(producer.send(record));
        }
        producer.flush();
        ObjectNode answer = object();
        ArrayNode offsets = answer.putArray("offsets");
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get().offset());
        }
        return answer;
    }

    private ObjectNode sendOffsets(JsonNode asked) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (JsonNode one : asked.get("offsets")) {
            offsets.put(new TopicPartition(one.get(0).asText(), one.get(1).asInt()), new OffsetAndMetadata(one.get(2).asLong()));
        }
        producers.get(asked.get("name").asText())
            .sendOffsetsToTransaction(offsets, consumers.get(asked.get("consumer").asText()).groupMetadata());
        return object();
    }

    // ------------------------------------------------------------ consumers

    private ObjectNode consumer(JsonNode asked) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("isolation.level", asked.path("isolation").asText("read_committed"));
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("fetch.max.wait.ms", "100");
        config.put("retry.backoff.ms", "20");
        if (asked.hasNonNull("group")) {
            config.put("group.id", asked.get("group").asText());
            if (asked.path("protocol").asText().equals("consumer")) {
                config.put("group.protocol", "consumer");
            } else {
                config.put("session.timeout.ms", "6000");
                config.put("heartbeat.interval.ms", "600");
                config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer."
                    + (asked.path("strategy").asText().equals("cooperative") ? "CooperativeStickyAssignor" : "RangeAssignor"));
            }
        }
        consumers.put(asked.get("name").asText(), new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer()));
        return object();
    }

    /** A producer and a consumer, each of its own here. */
    private ObjectNode session(JsonNode asked) {
        producer(asked);
        ObjectNode reader = ((ObjectNode) asked.deepCopy()).put("name", asked.get("consumer").asText());
        consumer(reader);
        consumers.get(asked.get("consumer").asText()).subscribe(List.of(asked.get("topic").asText()));
        return object();
    }

    private static ObjectNode assign(KafkaConsumer<String, String> consumer, JsonNode asked) {
        TopicPartition partition = new TopicPartition(asked.get("topic").asText(), asked.get("partition").asInt());
        consumer.assign(List.of(partition));
        long offset = asked.path("offset").asLong(0);
        if (asked.hasNonNull("time")) {
            offset = consumer.offsetsForTimes(Map.of(partition, asked.get("time").asLong())).get(partition).offset();
        }
        consumer.seek(partition, offset);
        return object().put("offset", offset);
    }

    private static ObjectNode poll(KafkaConsumer<String, String> consumer, JsonNode asked) {
        ObjectNode answer = object();
        if (asked.path("commit").asBoolean()) {
            try {
                consumer.commitSync();
            } catch (KafkaException error) {
                answer.put("commit_error", error.toString());
            }
        }
        List<ConsumerRecord<String, String>> polled = new ArrayList<>();
        Map<TopicPartition, Long> beyond = new HashMap<>();
        long deadline = System.nanoTime() + Duration.ofMillis(asked.get("ms").asLong()).toNanos();
        int count = asked.get("count").asInt();
        while (polled.size() < count && System.nanoTime() < deadline) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(50))) {
                if (polled.size() < count) {
                    polled.add(record);
                } else {
                    beyond.putIfAbsent(new TopicPartition(record.topic(), record.partition()), record.offset());
                }
            }
        }
        // What the last poll brought beyond `count` is given back, so that it is read again.
        beyond.forEach(consumer::seek);
        ArrayNode records = answer.putArray("records");
        polled.forEach(record -> records.add(shown(record)));
        ArrayNode assignment = answer.putArray("assignment");
        consumer.assignment().stream().map(TopicPartition::partition).sorted().forEach(assignment::add);
        return answer;
    }

    private ObjectNode close(String name) {
        if (consumers.containsKey(name)) {
            consumers.remove(name).close();
        } else {
            producers.remove(name).close(Duration.ofSeconds(5));
        }
        return object();
    }

    private static ObjectNode shown(ConsumerRecord<String, String> record) {
        ObjectNode shown = object().put("topic", record.topic()).put("partition", record.partition())
            .put("offset", record.offset()).put("key", record.key()).put("value", record.value())
            .put("timestamp", record.timestamp());
        ArrayNode headers = shown.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key())
                .add(header.value() == null ? null : new String(header.value(), StandardCharsets.UTF_8));
        }
        return shown;
    }

    private static String textOf(JsonNode node) {
        return node == null || node.isNull() || node.isMissingNode() ? null : node.asText();
    }
}
