use super::*;

fn attachment() -> Attachment {
    Attachment {
        name: "mask".to_owned(),
        module: "0".repeat(64),
        topics: vec!["orders.*".to_owned(), "payments".to_owned()],
        principals: vec!["User:p*".to_owned()],
        paths: vec![Direction::Fetch],
        order: 100,
        on_fault: FaultPolicy::FailClosed,
        config: BTreeMap::new(),
        limits: InterceptorLimits::default(),
    }
}

#[test]
fn a_scope_holds_for_its_topics_principals_and_paths_and_never_for_internal_topics() {
    let everything = Attachment { topics: vec!["*".to_owned()], ..attachment() };
    for (attachment, direction, topic, principal, holds) in [
        (&attachment(), Direction::Fetch, "orders.eu", "User:pia", true),
        (&attachment(), Direction::Fetch, "payments", "User:pia", true),
        (&attachment(), Direction::Fetch, "payments2", "User:pia", false),
        (&attachment(), Direction::Fetch, "orders.eu", "User:bob", false),
        (&attachment(), Direction::Produce, "orders.eu", "User:pia", false),
        (&everything, Direction::Fetch, "anything", "User:pia", true),
        (&everything, Direction::Fetch, "__consumer_offsets", "User:pia", false),
    ] {
        let scope = Scope::of(attachment);
        assert_eq!(scope.holds(direction, topic, principal), holds, "{topic} {principal}");
    }
}

#[test]
fn a_mistake_is_named_with_a_stable_code() {
    let wrong: [(&str, Attachment); 7] = [
        ("INVALID_INTERCEPTOR_NAME", Attachment { name: "a/b".to_owned(), ..attachment() }),
        ("NO_TOPICS", Attachment { topics: Vec::new(), ..attachment() }),
        ("NO_PRINCIPALS", Attachment { principals: Vec::new(), ..attachment() }),
        ("NO_PATHS", Attachment { paths: Vec::new(), ..attachment() }),
        ("INVALID_PATTERN", Attachment { topics: vec!["a[".to_owned()], ..attachment() }),
        ("INTERNAL_TOPIC", Attachment { topics: vec!["__consumer_*".to_owned()], ..attachment() }),
        (
            "INVALID_LIMIT",
            Attachment {
                limits: InterceptorLimits { batch_time_ms: 0, ..InterceptorLimits::default() },
                ..attachment()
            },
        ),
    ];
    assert_eq!(attachment().validate(), Ok(()));
    for (code, attachment) in wrong {
        let error = attachment.validate().unwrap_err();
        assert_eq!(error.code, code);
        assert!(!error.hint.is_empty());
    }
}

#[test]
fn a_record_of_an_older_version_is_read_with_defaults() {
    let minimal = serde_json::json!({"name": "a", "module": "m", "topics": ["t"], "paths": ["produce"]});
    let read: Attachment = serde_json::from_value(minimal).unwrap();
    assert_eq!((read.principals, read.order), (vec!["*".to_owned()], 100));
    assert_eq!((read.on_fault, read.limits), (FaultPolicy::FailClosed, InterceptorLimits::default()));
}

#[test]
fn simple_patterns_hold_what_glob_says() {
    let names = ["", "a", "b", "ab", "abc", "a*", "a?c", "a.b", "b]", "[", "größe", "a b"];
    for text in
        ["", "*", "**", "a", "a*", "a**", "*a", "a*c", "a?c", "?", "[ab]", "[!a]*", "a.b", "b]", "grö*", "[["]
    {
        let pattern = Pattern::new(text);
        let ours = Names::new(text);
        assert_eq!(ours.is_some(), pattern.is_ok(), "{text}");
        for (ours, pattern) in ours.iter().zip(&pattern) {
            for name in names {
                assert_eq!(ours.hold(name), pattern.matches(name), "{text} {name}");
            }
        }
    }
}
