package tidemill.interop;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The administrator's half of {@link Commands}. */
final class AdminCommands {
    private final Admin admin;

    AdminCommands(String bootstrap) {
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    ObjectNode answer(JsonNode asked) throws Exception {
        String topic = asked.path("topic").asText();
        String group = asked.path("group").asText();
        ObjectNode answer = Commands.object();
        switch (asked.get("do").asText()) {
            case "create_topic" -> create(topic, asked);
            case "describe_topic" -> answer.put("partitions",
                admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size());
            case "grow_topic" -> admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(asked.get("partitions").asInt()))).all().get();
            case "delete_topic" -> admin.deleteTopics(List.of(topic)).all().get();
            case "describe_config" -> describeConfig(topic, answer.putObject("config"));
            case "alter_config" -> alterConfig(topic, asked.get("config"));
            case "delete_records" -> {
                TopicPartition partition = partition(asked);
                answer.put("low", admin.deleteRecords(
                    Map.of(partition, RecordsToDelete.beforeOffset(asked.get("before").asLong())))
                    .lowWatermarks().get(partition).get().lowWatermark());
            }
            case "offsets" -> {
                answer.put("earliest", offset(partition(asked), OffsetSpec.earliest()));
                answer.put("latest", offset(partition(asked), OffsetSpec.latest()));
            }
            case "describe_group" -> {
                ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                answer.put("state", state(described)).put("members", described.members().size());
            }
            case "group_offsets" -> {
                ObjectNode offsets = answer.putObject("offsets");
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, at) -> {
                    if (partition.topic().equals(topic)) {
                        offsets.put(String.valueOf(partition.partition()), at.offset());
                    }
                });
            }
            case "delete_group" -> admin.deleteConsumerGroups(List.of(group)).all().get();
            default -> throw new IllegalArgumentException("no such command: " + asked.get("do"));
        }
        return answer;
    }

    private void create(String topic, JsonNode asked) throws Exception {
        Map<String, String> config = new HashMap<>();
        asked.path("config").properties().forEach(entry -> config.put(entry.getKey(), entry.getValue().asText()));
        NewTopic wanted = new NewTopic(topic, Optional.of(asked.get("partitions").asInt()), Optional.of((short) 1));
        admin.createTopics(List.of(wanted.configs(config))).all().get();
    }

    private void describeConfig(String topic, ObjectNode config) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
            .forEach(entry -> config.put(entry.name(), entry.value()));
    }

    private void alterConfig(String topic, JsonNode config) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        config.properties().forEach(entry -> changes.add(entry.getValue().isNull()
            ? new AlterConfigOp(new ConfigEntry(entry.getKey(), null), AlterConfigOp.OpType.DELETE)
            : new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue().asText()), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), changes)).all().get();
    }

    private long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }

    private static TopicPartition partition(JsonNode asked) {
        return new TopicPartition(asked.get("topic").asText(), asked.get("partition").asInt());
    }

    /** 4.x has groupState() and deprecates state(), which is all that 3.9 has. */
    private static String state(ConsumerGroupDescription described) throws ReflectiveOperationException {
        try {
            return ConsumerGroupDescription.class.getMethod("groupState").invoke(described).toString();
        } catch (NoSuchMethodException old) {
            return ConsumerGroupDescription.class.getMethod("state").invoke(described).toString();
        }
    }
}
