package tidemill.interop;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's own client behind the command line that ../python/client.py describes. */
public final class Client {
    private static final String NEVER_MS = "30000";

    private Client() {
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Map<String, String> options = options(arguments);
        if ("commands".equals(options.get("mode"))) {
            Commands.serve();
            return;
        }
        endAfter(Integer.parseInt(options.getOrDefault("seconds", "60")));
        try {
            switch (options.get("mode")) {
                case "idempotent", "transactional" -> produce(options);
                case "consume" -> consume(options);
                default -> throw new IllegalArgumentException("no such mode");
            }
        } catch (KafkaException error) {
            say("{\"fatal\":" + quoted(error.toString()) + ",\"cause\":" + quoted(String.valueOf(error.getCause())) + "}");
            Runtime.getRuntime().halt(1);
        }
    }

    private static Map<String, String> options(String[] arguments) {
        Map<String, String> options = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            options.put(arguments[at].replaceFirst("^--", ""), arguments[at + 1]);
        }
        return options;
    }

    static void endAfter(int seconds) {
        Thread clock = new Thread(() -> {
            try {
                Thread.sleep(Duration.ofSeconds(seconds).toMillis());
            } catch (InterruptedException ignored) {
                return;
            }
            say("{\"fatal\":\"not done after " + seconds + " s\"}");
            Runtime.getRuntime().halt(1);
        });
        clock.setDaemon(true);
        clock.start();
    }

    private static void produce(Map<String, String> options) throws IOException, InterruptedException {
        boolean transactional = options.get("mode").equals("transactional");
        Properties config = new Properties();
        config.put("bootstrap.servers", options.get("bootstrap"));
        config.put("enable.idempotence", "true");
        config.put("acks", "all");
        config.put("compression.type", options.getOrDefault("compression", "none"));
        boolean alone = options.getOrDefault("records", "step").equals("alone");
        config.put("linger.ms", alone ? "0" : NEVER_MS);
        config.put("batch.size", alone ? "1" : "1000000");
        if (transactional) {
            config.put("transactional.id", options.get("transactional-id"));
        }
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            Steps steps = new Steps(producer, options.get("topic"), transactional);
            if (transactional) {
                producer.initTransactions();
            }
            for (String line : Files.readAllLines(Path.of(options.get("batches")))) {
                String[] fields = line.split("\t", -1);
                steps.step(fields[0], Arrays.asList(fields).subList(1, fields.length));
            }
        }
    }

    /** The steps of one producer. */
    private static final class Steps {
        private final KafkaProducer<String, String> producer;
        private final String topic;
        private final boolean transactional;
        private boolean open;

        Steps(KafkaProducer<String, String> producer, String topic, boolean transactional) {
            this.producer = producer;
            this.topic = topic;
            this.transactional = transactional;
        }

        void step(String then, List<String> values) throws InterruptedException {
            if (transactional && !open) {
                producer.beginTransaction();
                open = true;
            }
            boolean good = send(values);
            if (!transactional) {
                return;
            }
            if (then.equals("commit")) {
                // Also after a failed send: a program that never looks at its futures learns of it here.
                good = commit();
            }
            if (then.equals("abort") || !good) {
                producer.abortTransaction();
                say("{\"abort\":\"ok\"}");
                open = false;
            }
        }

        private boolean send(List<String> values) throws InterruptedException {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String value : values) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, null, value)));
            }
            producer.flush();
            boolean good = true;
            for (int at = 0; at < sent.size(); at++) {
                String value = "{\"value\":" + quoted(values.get(at));
                try {
                    say(value + ",\"offset\":" + sent.get(at).get().offset() + "}");
                } catch (ExecutionException failed) {
                    good = false;
                    say(value + "," + fields(failed.getCause()) + "}");
                }
            }
            return good;
        }

        private boolean commit() {
            try {
                producer.commitTransaction();
            } catch (KafkaException error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                say("{\"commit\":\"error\"," + fields(cause) + "}");
                return false;
            }
            say("{\"commit\":\"ok\"}");
            open = false;
            return true;
        }
    }

    private static void consume(Map<String, String> options) {
        Properties config = new Properties();
        config.put("bootstrap.servers", options.get("bootstrap"));
        config.put("isolation.level", "read_committed");
        config.put("enable.auto.commit", "false");
        config.put("fetch.max.wait.ms", "200");
        TopicPartition partition = new TopicPartition(options.get("topic"), 0);
        String until = options.get("until");
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            boolean ended = false;
            boolean wanted = until != null;
            while (wanted || !ended) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    say(shown(record));
                    wanted &= !record.value().equals(until);
                }
                if (!ended && consumer.position(partition) >= end) {
                    ended = true;
                    say("{\"end\":" + end + ",\"position\":" + consumer.position(partition) + "}");
                }
            }
        }
    }

    private static String shown(ConsumerRecord<String, String> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(quoted(header.key()) + ":" + quoted(new String(header.value(), StandardCharsets.UTF_8)));
        }
        return "{\"value\":" + quoted(record.value()) + ",\"offset\":" + record.offset()
            + ",\"headers\":{" + String.join(",", headers) + "}}";
    }

    /** The exception as the protocol's error where it is one, else by its class. */
    private static String fields(Throwable error) {
        Errors known = Errors.forException(error);
        String name = known == Errors.UNKNOWN_SERVER_ERROR ? error.getClass().getSimpleName() : known.name();
        return "\"error\":" + quoted(name) + ",\"code\":" + known.code()
            + ",\"message\":" + quoted(String.valueOf(error.getMessage()));
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"').toString();
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
