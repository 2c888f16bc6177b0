package tidemill.interop;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A member of a group: arguments and lines as those of ../../../../../../consumer_protocol.py's own. It commits each
 * record before it looks at the next one, and leaves in order when it is terminated.
 */
public final class Member {
    private static volatile boolean stopping;

    private Member() {
    }

    public static void main(String[] arguments) {
        String topic = arguments[0];
        Properties config = new Properties();
        config.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        config.put("group.id", arguments[1]);
        config.put("group.protocol", arguments[2]);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("isolation.level", "read_committed");
        config.put("metadata.max.age.ms", "1000");
        if (arguments.length > 3 && !arguments[3].isEmpty()) {
            config.put("group.instance.id", arguments[3]);
        }
        KafkaConsumer<String, String> consumer =
            new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
        if (topic.startsWith("^")) {
            consumer.subscribe(new SubscriptionPattern(topic.substring(1)));
        } else {
            consumer.subscribe(List.of(topic));
        }
        try (consumer) {
            work(consumer);
        } catch (WakeupException ignored) {
            // It is time to go.
        } catch (KafkaException error) {
            say("{\"error\":\"" + error.toString().replace("\"", "'").replace("\n", " ") + "\"}");
        }
        say("{\"closed\":true}");
    }

    private static void work(KafkaConsumer<String, String> consumer) {
        TreeSet<String> said = null;
        while (!stopping) {
            var records = consumer.poll(Duration.ofMillis(100));
            TreeSet<String> assigned = new TreeSet<>();
            for (TopicPartition partition : consumer.assignment()) {
                assigned.add("[\"" + partition.topic() + "\"," + partition.partition() + "]");
            }
            if (!assigned.equals(said)) {
                say("{\"assignment\":[" + String.join(",", assigned) + "]}");
                said = assigned;
            }
            for (ConsumerRecord<String, String> record : records) {
                say("{\"value\":\"" + record.value() + "\"}");
                TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                commit(consumer, Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
            }
        }
    }

    /** A commit that comes too late is of a partition that another member goes on with. */
    private static void commit(KafkaConsumer<String, String> consumer, Map<TopicPartition, OffsetAndMetadata> offsets) {
        try {
            consumer.commitSync(offsets);
        } catch (WakeupException stop) {
            throw stop;
        } catch (KafkaException late) {
            say("{\"late\":\"" + late.getClass().getSimpleName() + "\"}");
        }
    }

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
