use super::*;

#[test]
fn a_record_survives_the_way_to_bytes_and_back() {
    let record = MetadataRecord::Partition {
        topic_id: [7; 16],
        partition: 3,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 5,
    };
    assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn quotas_are_kept_with_their_default_entities() {
    let record = MetadataRecord::ClientQuota {
        entity: vec![("user".to_owned(), None), ("client-id".to_owned(), Some("app".to_owned()))],
        key: "request_percentage".to_owned(),
        value: Some("12.5".to_owned()),
    };
    assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
}

#[test]
fn a_newer_version_and_garbage_are_refused_in_words() {
    #[derive(Serialize)]
    struct Newer {
        version: u16,
        record: &'static str,
    }
    let newer = rmp_serde::to_vec_named(&Newer { version: 9, record: "?" }).expect("encodes");
    assert_eq!(MetadataRecord::decode(&newer), Err(RecordError::TooNew(9)));
    assert!(matches!(MetadataRecord::decode(b"\xc1nonsense"), Err(RecordError::Undecodable(_))));
}
