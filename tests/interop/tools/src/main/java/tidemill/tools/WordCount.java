package tidemill.tools;

import java.util.List;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams' word count, exactly once; it runs until it is killed. */
public final class WordCount {
    private WordCount() {
    }

    /** Arguments: bootstrap servers, application id, input topic, output topic, directory of the state. */
    public static void main(String[] arguments) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream(arguments[2]);
        lines.flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word)
            .count()
            .toStream()
            .to(arguments[3], Produced.with(Serdes.String(), Serdes.Long()));
        Properties config = new Properties();
        config.put("bootstrap.servers", arguments[0]);
        config.put("application.id", arguments[1]);
        config.put("state.dir", arguments[4]);
        config.put("processing.guarantee", "exactly_once_v2");
        config.put("default.key.serde", Serdes.StringSerde.class.getName());
        config.put("default.value.serde", Serdes.StringSerde.class.getName());
        config.put("commit.interval.ms", "100");
        // Records do not wait in the client for the commit: a kill finds them in the log, in an open transaction.
        config.put("producer.linger.ms", "1");
        // Without the cache each count is a record of the output, so that one too many or too few shows.
        config.put("statestore.cache.max.bytes", "0");
        // A static member: who comes after a killed one takes its place at once, instead of when its session is over.
        config.put("consumer.group.instance.id", arguments[1]);
        config.put("consumer.session.timeout.ms", "6000");
        config.put("consumer.heartbeat.interval.ms", "1000");
        config.put("consumer.auto.offset.reset", "earliest");
        // The instance is one process, as a user's would be.
        @SuppressWarnings("resource")
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
    }
}
