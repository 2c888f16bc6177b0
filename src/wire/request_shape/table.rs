//! The shapes of the requests that the broker reads: each field's kind and versions, in wire order,
//! as Kafka's message definitions (`*Request.json`) give them.
//!
//! A field that a version does not have is marked with the versions that do; tagged fields (KIP-482)
//! stand apart. Tests hold this table against the codec crate for every version.

use super::Kind::{Blob, Fixed, Fixeds, Many, One, Optional, Text, Texts};
use super::{Field, NEVER, Shape, Tagged};

macro_rules! shape {
    ($name:ident, flexible $flexible:expr,
        { $($field:ident $(from $from:literal)? $(until $until:literal)? => $kind:expr,)* }
        $(, tagged { $($tag:literal $tagged:ident from $tagged_from:literal => $tagged_kind:expr,)* })?
    ) => {
        pub(in crate::wire) static $name: Shape = Shape {
            flexible_from: $flexible,
            fields: &[$(Field {
                name: stringify!($field),
                from: 0 $(+ $from)?,
                until: shape!(@until $($until)?),
                kind: $kind,
            }),*],
            tagged: &[$($(Tagged {
                name: stringify!($tagged),
                tag: $tag,
                from: $tagged_from,
                kind: $tagged_kind,
            }),*)?],
        };
    };
    (@until) => { NEVER };
    (@until $until:literal) => { $until };
}

shape!(PRODUCE_REQUEST, flexible 9, {
    transactional_id => Text,
    acks => Fixed(2),
    timeout_ms => Fixed(4),
    topic_data => Many(&TOPIC_PRODUCE_DATA),
});
shape!(PARTITION_PRODUCE_DATA, flexible 9, {
    index => Fixed(4),
    records => Blob,
});
shape!(TOPIC_PRODUCE_DATA, flexible 9, {
    name until 12 => Text,
    topic_id from 13 => Fixed(16),
    partition_data => Many(&PARTITION_PRODUCE_DATA),
});
shape!(FETCH_REQUEST, flexible 12, {
    replica_id until 14 => Fixed(4),
    max_wait_ms => Fixed(4),
    min_bytes => Fixed(4),
    max_bytes => Fixed(4),
    isolation_level => Fixed(1),
    session_id from 7 => Fixed(4),
    session_epoch from 7 => Fixed(4),
    topics => Many(&FETCH_TOPIC),
    forgotten_topics_data from 7 => Many(&FORGOTTEN_TOPIC),
    rack_id from 11 => Text,
}, tagged {
    0 cluster_id from 0 => Text,
    1 replica_state from 15 => One(&REPLICA_STATE),
});
shape!(FETCH_PARTITION, flexible 12, {
    partition => Fixed(4),
    current_leader_epoch from 9 => Fixed(4),
    fetch_offset => Fixed(8),
    last_fetched_epoch from 12 => Fixed(4),
    log_start_offset from 5 => Fixed(8),
    partition_max_bytes => Fixed(4),
}, tagged {
    0 replica_directory_id from 17 => Fixed(16),
    1 high_watermark from 18 => Fixed(8),
});
shape!(FETCH_TOPIC, flexible 12, {
    topic until 12 => Text,
    topic_id from 13 => Fixed(16),
    partitions => Many(&FETCH_PARTITION),
});
shape!(FORGOTTEN_TOPIC, flexible 12, {
    topic from 7 until 12 => Text,
    topic_id from 13 => Fixed(16),
    partitions from 7 => Fixeds(4),
});
shape!(REPLICA_STATE, flexible 12, {
    replica_id from 15 => Fixed(4),
    replica_epoch from 15 => Fixed(8),
});
shape!(LIST_OFFSETS_REQUEST, flexible 6, {
    replica_id => Fixed(4),
    isolation_level from 2 => Fixed(1),
    topics => Many(&LIST_OFFSETS_TOPIC),
    timeout_ms from 10 => Fixed(4),
});
shape!(LIST_OFFSETS_PARTITION, flexible 6, {
    partition_index => Fixed(4),
    current_leader_epoch from 4 => Fixed(4),
    timestamp => Fixed(8),
});
shape!(LIST_OFFSETS_TOPIC, flexible 6, {
    name => Text,
    partitions => Many(&LIST_OFFSETS_PARTITION),
});
shape!(METADATA_REQUEST, flexible 9, {
    topics => Many(&METADATA_REQUEST_TOPIC),
    allow_auto_topic_creation from 4 => Fixed(1),
    include_cluster_authorized_operations from 8 until 10 => Fixed(1),
    include_topic_authorized_operations from 8 => Fixed(1),
});
shape!(METADATA_REQUEST_TOPIC, flexible 9, {
    topic_id from 10 => Fixed(16),
    name => Text,
});
shape!(OFFSET_COMMIT_REQUEST, flexible 8, {
    group_id => Text,
    generation_id_or_member_epoch => Fixed(4),
    member_id => Text,
    group_instance_id from 7 => Text,
    retention_time_ms until 4 => Fixed(8),
    topics => Many(&OFFSET_COMMIT_REQUEST_TOPIC),
});
shape!(OFFSET_COMMIT_REQUEST_PARTITION, flexible 8, {
    partition_index => Fixed(4),
    committed_offset => Fixed(8),
    committed_leader_epoch from 6 => Fixed(4),
    committed_metadata => Text,
});
shape!(OFFSET_COMMIT_REQUEST_TOPIC, flexible 8, {
    name => Text,
    partitions => Many(&OFFSET_COMMIT_REQUEST_PARTITION),
});
shape!(OFFSET_FETCH_REQUEST, flexible 6, {
    group_id until 7 => Text,
    topics until 7 => Many(&OFFSET_FETCH_REQUEST_TOPIC),
    groups from 8 => Many(&OFFSET_FETCH_REQUEST_GROUP),
    require_stable from 7 => Fixed(1),
});
shape!(OFFSET_FETCH_REQUEST_GROUP, flexible 6, {
    group_id from 8 => Text,
    member_id from 9 => Text,
    member_epoch from 9 => Fixed(4),
    topics from 8 => Many(&OFFSET_FETCH_REQUEST_TOPICS),
});
shape!(OFFSET_FETCH_REQUEST_TOPIC, flexible 6, {
    name until 7 => Text,
    partition_indexes until 7 => Fixeds(4),
});
shape!(OFFSET_FETCH_REQUEST_TOPICS, flexible 6, {
    name from 8 => Text,
    partition_indexes from 8 => Fixeds(4),
});
shape!(FIND_COORDINATOR_REQUEST, flexible 3, {
    key until 3 => Text,
    key_type from 1 => Fixed(1),
    coordinator_keys from 4 => Texts,
});
shape!(JOIN_GROUP_REQUEST, flexible 6, {
    group_id => Text,
    session_timeout_ms => Fixed(4),
    rebalance_timeout_ms from 1 => Fixed(4),
    member_id => Text,
    group_instance_id from 5 => Text,
    protocol_type => Text,
    protocols => Many(&JOIN_GROUP_REQUEST_PROTOCOL),
    reason from 8 => Text,
});
shape!(JOIN_GROUP_REQUEST_PROTOCOL, flexible 6, {
    name => Text,
    metadata => Blob,
});
shape!(HEARTBEAT_REQUEST, flexible 4, {
    group_id => Text,
    generation_id => Fixed(4),
    member_id => Text,
    group_instance_id from 3 => Text,
});
shape!(LEAVE_GROUP_REQUEST, flexible 4, {
    group_id => Text,
    member_id until 2 => Text,
    members from 3 => Many(&MEMBER_IDENTITY),
});
shape!(MEMBER_IDENTITY, flexible 4, {
    member_id from 3 => Text,
    group_instance_id from 3 => Text,
    reason from 5 => Text,
});
shape!(SYNC_GROUP_REQUEST, flexible 4, {
    group_id => Text,
    generation_id => Fixed(4),
    member_id => Text,
    group_instance_id from 3 => Text,
    protocol_type from 5 => Text,
    protocol_name from 5 => Text,
    assignments => Many(&SYNC_GROUP_REQUEST_ASSIGNMENT),
});
shape!(SYNC_GROUP_REQUEST_ASSIGNMENT, flexible 4, {
    member_id => Text,
    assignment => Blob,
});
shape!(DESCRIBE_GROUPS_REQUEST, flexible 5, {
    groups => Texts,
    include_authorized_operations from 3 => Fixed(1),
});
shape!(LIST_GROUPS_REQUEST, flexible 3, {
    states_filter from 4 => Texts,
    types_filter from 5 => Texts,
});
shape!(API_VERSIONS_REQUEST, flexible 3, {
    client_software_name from 3 => Text,
    client_software_version from 3 => Text,
});
shape!(CREATE_TOPICS_REQUEST, flexible 5, {
    topics => Many(&CREATABLE_TOPIC),
    timeout_ms => Fixed(4),
    validate_only => Fixed(1),
});
shape!(CREATABLE_REPLICA_ASSIGNMENT, flexible 5, {
    partition_index => Fixed(4),
    broker_ids => Fixeds(4),
});
shape!(CREATABLE_TOPIC, flexible 5, {
    name => Text,
    num_partitions => Fixed(4),
    replication_factor => Fixed(2),
    assignments => Many(&CREATABLE_REPLICA_ASSIGNMENT),
    configs => Many(&CREATABLE_TOPIC_CONFIG),
});
shape!(CREATABLE_TOPIC_CONFIG, flexible 5, {
    name => Text,
    value => Text,
});
shape!(DELETE_TOPICS_REQUEST, flexible 4, {
    topics from 6 => Many(&DELETE_TOPIC_STATE),
    topic_names until 5 => Texts,
    timeout_ms => Fixed(4),
});
shape!(DELETE_TOPIC_STATE, flexible 4, {
    name from 6 => Text,
    topic_id from 6 => Fixed(16),
});
shape!(INIT_PRODUCER_ID_REQUEST, flexible 2, {
    transactional_id => Text,
    transaction_timeout_ms => Fixed(4),
    producer_id from 3 => Fixed(8),
    producer_epoch from 3 => Fixed(2),
});
shape!(ADD_PARTITIONS_TO_TXN_REQUEST, flexible 3, {
    transactions from 4 => Many(&ADD_PARTITIONS_TO_TXN_TRANSACTION),
    v3_and_below_transactional_id until 3 => Text,
    v3_and_below_producer_id until 3 => Fixed(8),
    v3_and_below_producer_epoch until 3 => Fixed(2),
    v3_and_below_topics until 3 => Many(&ADD_PARTITIONS_TO_TXN_TOPIC),
});
shape!(ADD_PARTITIONS_TO_TXN_TOPIC, flexible 3, {
    name => Text,
    partitions => Fixeds(4),
});
shape!(ADD_PARTITIONS_TO_TXN_TRANSACTION, flexible 3, {
    transactional_id from 4 => Text,
    producer_id from 4 => Fixed(8),
    producer_epoch from 4 => Fixed(2),
    verify_only from 4 => Fixed(1),
    topics from 4 => Many(&ADD_PARTITIONS_TO_TXN_TOPIC),
});
shape!(ADD_OFFSETS_TO_TXN_REQUEST, flexible 3, {
    transactional_id => Text,
    producer_id => Fixed(8),
    producer_epoch => Fixed(2),
    group_id => Text,
});
shape!(END_TXN_REQUEST, flexible 3, {
    transactional_id => Text,
    producer_id => Fixed(8),
    producer_epoch => Fixed(2),
    committed => Fixed(1),
});
shape!(WRITE_TXN_MARKERS_REQUEST, flexible 1, {
    markers => Many(&WRITABLE_TXN_MARKER),
});
shape!(WRITABLE_TXN_MARKER, flexible 1, {
    producer_id => Fixed(8),
    producer_epoch => Fixed(2),
    transaction_result => Fixed(1),
    topics => Many(&WRITABLE_TXN_MARKER_TOPIC),
    coordinator_epoch => Fixed(4),
});
shape!(WRITABLE_TXN_MARKER_TOPIC, flexible 1, {
    name => Text,
    partition_indexes => Fixeds(4),
});
shape!(TXN_OFFSET_COMMIT_REQUEST, flexible 3, {
    transactional_id => Text,
    group_id => Text,
    producer_id => Fixed(8),
    producer_epoch => Fixed(2),
    generation_id from 3 => Fixed(4),
    member_id from 3 => Text,
    group_instance_id from 3 => Text,
    topics => Many(&TXN_OFFSET_COMMIT_REQUEST_TOPIC),
});
shape!(TXN_OFFSET_COMMIT_REQUEST_PARTITION, flexible 3, {
    partition_index => Fixed(4),
    committed_offset => Fixed(8),
    committed_leader_epoch from 2 => Fixed(4),
    committed_metadata => Text,
});
shape!(TXN_OFFSET_COMMIT_REQUEST_TOPIC, flexible 3, {
    name => Text,
    partitions => Many(&TXN_OFFSET_COMMIT_REQUEST_PARTITION),
});
shape!(DESCRIBE_CONFIGS_REQUEST, flexible 4, {
    resources => Many(&DESCRIBE_CONFIGS_RESOURCE),
    include_synonyms => Fixed(1),
    include_documentation from 3 => Fixed(1),
});
shape!(DESCRIBE_CONFIGS_RESOURCE, flexible 4, {
    resource_type => Fixed(1),
    resource_name => Text,
    configuration_keys => Texts,
});
shape!(INCREMENTAL_ALTER_CONFIGS_REQUEST, flexible 1, {
    resources => Many(&ALTER_CONFIGS_RESOURCE),
    validate_only => Fixed(1),
});
shape!(ALTER_CONFIGS_RESOURCE, flexible 1, {
    resource_type => Fixed(1),
    resource_name => Text,
    configs => Many(&ALTERABLE_CONFIG),
});
shape!(ALTERABLE_CONFIG, flexible 1, {
    name => Text,
    config_operation => Fixed(1),
    value => Text,
});
shape!(CREATE_PARTITIONS_REQUEST, flexible 2, {
    topics => Many(&CREATE_PARTITIONS_TOPIC),
    timeout_ms => Fixed(4),
    validate_only => Fixed(1),
});
shape!(CREATE_PARTITIONS_ASSIGNMENT, flexible 2, {
    broker_ids => Fixeds(4),
});
shape!(CREATE_PARTITIONS_TOPIC, flexible 2, {
    name => Text,
    count => Fixed(4),
    assignments => Many(&CREATE_PARTITIONS_ASSIGNMENT),
});
shape!(DELETE_GROUPS_REQUEST, flexible 2, {
    groups_names => Texts,
});
shape!(DESCRIBE_CLUSTER_REQUEST, flexible 0, {
    include_cluster_authorized_operations => Fixed(1),
    endpoint_type from 1 => Fixed(1),
    include_fenced_brokers from 2 => Fixed(1),
});
shape!(DESCRIBE_PRODUCERS_REQUEST, flexible 0, {
    topics => Many(&TOPIC_REQUEST),
});
shape!(TOPIC_REQUEST, flexible 0, {
    name => Text,
    partition_indexes => Fixeds(4),
});
shape!(DESCRIBE_TRANSACTIONS_REQUEST, flexible 0, {
    transactional_ids => Texts,
});
shape!(LIST_TRANSACTIONS_REQUEST, flexible 0, {
    state_filters => Texts,
    producer_id_filters => Fixeds(8),
    duration_filter from 1 => Fixed(8),
    transactional_id_pattern from 2 => Text,
});
shape!(OFFSET_DELETE_REQUEST, flexible NEVER, {
    group_id => Text,
    topics => Many(&OFFSET_DELETE_REQUEST_TOPIC),
});
shape!(OFFSET_DELETE_REQUEST_PARTITION, flexible NEVER, {
    partition_index => Fixed(4),
});
shape!(OFFSET_DELETE_REQUEST_TOPIC, flexible NEVER, {
    name => Text,
    partitions => Many(&OFFSET_DELETE_REQUEST_PARTITION),
});
shape!(DELETE_RECORDS_REQUEST, flexible 2, {
    topics => Many(&DELETE_RECORDS_TOPIC),
    timeout_ms => Fixed(4),
});
shape!(DELETE_RECORDS_PARTITION, flexible 2, {
    partition_index => Fixed(4),
    offset => Fixed(8),
});
shape!(DELETE_RECORDS_TOPIC, flexible 2, {
    name => Text,
    partitions => Many(&DELETE_RECORDS_PARTITION),
});
shape!(OFFSET_FOR_LEADER_EPOCH_REQUEST, flexible 4, {
    replica_id from 3 => Fixed(4),
    topics => Many(&OFFSET_FOR_LEADER_TOPIC),
});
shape!(OFFSET_FOR_LEADER_PARTITION, flexible 4, {
    partition => Fixed(4),
    current_leader_epoch => Fixed(4),
    leader_epoch => Fixed(4),
});
shape!(OFFSET_FOR_LEADER_TOPIC, flexible 4, {
    topic => Text,
    partitions => Many(&OFFSET_FOR_LEADER_PARTITION),
});
shape!(CONSUMER_GROUP_HEARTBEAT_REQUEST, flexible 0, {
    group_id => Text,
    member_id => Text,
    member_epoch => Fixed(4),
    instance_id => Text,
    rack_id => Text,
    rebalance_timeout_ms => Fixed(4),
    subscribed_topic_names => Texts,
    subscribed_topic_regex from 1 => Text,
    server_assignor => Text,
    topic_partitions => Many(&CONSUMER_GROUP_HEARTBEAT_TOPIC),
});
shape!(CONSUMER_GROUP_HEARTBEAT_TOPIC, flexible 0, {
    topic_id => Fixed(16),
    partitions => Fixeds(4),
});
shape!(CONSUMER_GROUP_DESCRIBE_REQUEST, flexible 0, {
    group_ids => Texts,
    include_authorized_operations => Fixed(1),
});
shape!(ALTER_CONFIGS_REQUEST, flexible 2, {
    resources => Many(&WHOLE_CONFIGS_RESOURCE),
    validate_only => Fixed(1),
});
shape!(WHOLE_CONFIGS_RESOURCE, flexible 2, {
    resource_type => Fixed(1),
    resource_name => Text,
    configs => Many(&WHOLE_CONFIG),
});
shape!(WHOLE_CONFIG, flexible 2, {
    name => Text,
    value => Text,
});
shape!(ALTER_REPLICA_LOG_DIRS_REQUEST, flexible 2, {
    dirs => Many(&ALTER_REPLICA_LOG_DIR),
});
shape!(ALTER_REPLICA_LOG_DIR, flexible 2, {
    path => Text,
    topics => Many(&LOG_DIR_TOPIC),
});
shape!(LOG_DIR_TOPIC, flexible 2, {
    topic => Text,
    partitions => Fixeds(4),
});
shape!(DESCRIBE_LOG_DIRS_REQUEST, flexible 2, {
    topics => Many(&LOG_DIR_TOPIC),
});
shape!(ELECT_LEADERS_REQUEST, flexible 2, {
    election_type from 1 => Fixed(1),
    topic_partitions => Many(&ELECT_LEADERS_TOPIC),
    timeout_ms => Fixed(4),
});
shape!(ELECT_LEADERS_TOPIC, flexible 2, {
    topic => Text,
    partitions => Fixeds(4),
});
shape!(ALTER_PARTITION_REASSIGNMENTS_REQUEST, flexible 0, {
    timeout_ms => Fixed(4),
    allow_replication_factor_change from 1 => Fixed(1),
    topics => Many(&REASSIGNABLE_TOPIC),
});
shape!(REASSIGNABLE_TOPIC, flexible 0, {
    name => Text,
    partitions => Many(&REASSIGNABLE_PARTITION),
});
shape!(REASSIGNABLE_PARTITION, flexible 0, {
    partition_index => Fixed(4),
    replicas => Fixeds(4),
});
shape!(LIST_PARTITION_REASSIGNMENTS_REQUEST, flexible 0, {
    timeout_ms => Fixed(4),
    topics => Many(&TOPIC_REQUEST),
});
shape!(UPDATE_FEATURES_REQUEST, flexible 0, {
    timeout_ms => Fixed(4),
    feature_updates => Many(&FEATURE_UPDATE),
    validate_only from 1 => Fixed(1),
});
shape!(FEATURE_UPDATE, flexible 0, {
    feature => Text,
    max_version_level => Fixed(2),
    allow_downgrade until 0 => Fixed(1),
    upgrade_type from 1 => Fixed(1),
});
shape!(DESCRIBE_CLIENT_QUOTAS_REQUEST, flexible 1, {
    components => Many(&QUOTA_COMPONENT),
    strict => Fixed(1),
});
shape!(QUOTA_COMPONENT, flexible 1, {
    entity_type => Text,
    match_type => Fixed(1),
    match_value => Text,
});
shape!(ALTER_CLIENT_QUOTAS_REQUEST, flexible 1, {
    entries => Many(&QUOTA_ENTRY),
    validate_only => Fixed(1),
});
shape!(QUOTA_ENTRY, flexible 1, {
    entity => Many(&QUOTA_ENTITY),
    ops => Many(&QUOTA_OPERATION),
});
shape!(QUOTA_ENTITY, flexible 1, {
    entity_type => Text,
    entity_name => Text,
});
shape!(QUOTA_OPERATION, flexible 1, {
    key => Text,
    value => Fixed(8),
    remove => Fixed(1),
});
shape!(LIST_CONFIG_RESOURCES_REQUEST, flexible 0, {
    resource_types from 1 => Fixeds(1),
});
shape!(DESCRIBE_TOPIC_PARTITIONS_REQUEST, flexible 0, {
    topics => Many(&DESCRIBE_TOPIC_PARTITIONS_TOPIC),
    response_partition_limit => Fixed(4),
    cursor => Optional(&TOPIC_PARTITION_CURSOR),
});
shape!(DESCRIBE_TOPIC_PARTITIONS_TOPIC, flexible 0, {
    name => Text,
});
shape!(TOPIC_PARTITION_CURSOR, flexible 0, {
    topic_name => Text,
    partition_index => Fixed(4),
});
