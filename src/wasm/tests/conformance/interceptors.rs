//! The list's items for interceptors.

use super::*;
use crate::plugin::put_body;

/// A language's guest, what it logs, and what it counts.
struct Guest {
    language: Language,
    instance: Box<dyn InterceptorInstance>,
    lines: Lines,
    counters: Counters,
}

/// What is to become of a record; none is to keep it.
type Judged = Option<Verdict>;

async fn start(language: Language, config: &[(&str, &str)], limits: Limits) -> Result<Guest, PluginError> {
    start_module(language, &language.module("interceptor"), config, limits).await
}

async fn start_module(
    language: Language,
    module: &ModuleDigest,
    config: &[(&str, &str)],
    limits: Limits,
) -> Result<Guest, PluginError> {
    let (lines, counters) = (Lines::default(), Counters::default());
    let options = InterceptorOptions {
        attachment: "judge".to_owned(),
        limits,
        config: owned(config),
        log: lines_to(&lines),
        counters: counts_to(&counters),
    };
    let instance = HOST.instantiate_interceptor(module, options).await?;
    Ok(Guest { language, instance, lines, counters })
}

/// An instance of each language.
async fn guests() -> Vec<Guest> {
    let mut guests = Vec::new();
    for language in languages() {
        guests.push(start(language, &CONFIG, limits()).await.unwrap());
    }
    guests
}

fn origin() -> Origin {
    Origin {
        principal: "User:größe".into(),
        client_id: "app".to_owned(),
        topic: TopicName::new("in"),
        partition: PartitionIndex::ZERO,
        is_transactional: true,
    }
}

impl Guest {
    /// What is to become of each record of a batch.
    async fn judge(&mut self, path: Direction, batch: &InputBatch) -> Result<Vec<Judged>, ProcessFault> {
        let verdicts = self.instance.judge(path, &origin(), batch).await?;
        Ok((0..batch.record_count()).map(|index| verdicts.on(index).cloned()).collect())
    }

    async fn obey(&mut self, commands: &[&str]) -> Result<Vec<Judged>, ProcessFault> {
        self.judge(Direction::Produce, &telling(commands)).await
    }

    /// Checks with what value a guest replaces a record's own.
    async fn check_answers<const N: usize>(&mut self, path: Direction, answers: [(&str, Option<&str>); N]) {
        let judged = self.judge(path, &telling(&answers.map(|(command, _)| command))).await.unwrap();
        let expected = answers.map(|(command, value)| {
            let value = value.map(|value| value.as_bytes().to_vec());
            replaced(None, &Content { value, ..told(command) })
        });
        assert_eq!(judged, expected, "{:?}", self.language);
    }

    /// A fault after which the instance is dead.
    async fn fatal(mut self, command: &str) -> ProcessFault {
        let fault = self.obey(&["keep", command]).await.unwrap_err();
        assert!(!fault.instance_survives(), "{:?}: {fault}", self.language);
        assert_eq!(self.obey(&["keep"]).await, Err(ProcessFault::Dead));
        fault
    }

    fn logged(&self) -> Vec<(LogSource, LogLevel, String)> {
        let lines = std::mem::take(&mut *self.lines.lock());
        lines.into_iter().map(|line| (line.source, line.level, line.message)).collect()
    }
}

fn replaced(timestamp: Option<i64>, content: &Content) -> Judged {
    let mut body = Vec::new();
    let headers = content.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
    put_body(&mut body, content.key.as_deref(), content.value.as_deref(), headers);
    Some(Verdict::Replace { timestamp, body: body.into() })
}

#[tokio::test]
async fn records_are_kept_dropped_or_replaced() {
    for mut guest in guests().await {
        let judged = guest.obey(&["keep", "drop", "replace größe", "erase", "keep"]).await.unwrap();
        let content = Content { value: Some("größe".into()), ..told("replace größe") };
        let nothing = Content { key: None, value: None, headers: Vec::new() };
        let expected = [None, Some(Verdict::Drop), replaced(None, &content), replaced(None, &nothing), None];
        assert_eq!(judged, expected, "{:?}", guest.language);
    }
}

#[tokio::test]
async fn records_are_rejected_with_code_and_words() {
    use RejectionCode::{InvalidRecord, PolicyViolation, TopicAuthorizationFailed};
    for mut guest in guests().await {
        let commands = [
            "reject invalid-record bad größe",
            "reject policy-violation p",
            "reject topic-authorization-failed t",
        ];
        let judged = guest.obey(&commands).await.unwrap();
        let expected =
            [(InvalidRecord, "bad größe"), (PolicyViolation, "p"), (TopicAuthorizationFailed, "t")]
                .map(|(code, message)| Some(Verdict::Reject { code, message: message.to_owned() }));
        assert_eq!(judged, expected, "{:?}", guest.language);
    }
}

#[tokio::test]
async fn replacements_are_whole() {
    let contents = strange_contents();
    for mut guest in guests().await {
        for path in [Direction::Produce, Direction::Fetch] {
            let judged = guest.judge(path, &input(&contents)).await.unwrap();
            let expected: Vec<_> = contents.iter().map(|content| replaced(None, content)).collect();
            assert_eq!(judged, expected, "{:?}", guest.language);
        }
    }
}

#[tokio::test]
async fn replacements_may_have_another_time() {
    for mut guest in guests().await {
        let judged = guest.obey(&["retime 9007199254740995", "retime 0"]).await.unwrap();
        let expected = [("retime 9007199254740995", 9_007_199_254_740_995), ("retime 0", 0)]
            .map(|(command, timestamp)| replaced(Some(timestamp), &told(command)));
        assert_eq!(judged, expected, "{:?}", guest.language);
    }
}

#[tokio::test]
async fn empty_batches_are_fine() {
    for mut guest in guests().await {
        assert_eq!(
            guest.judge(Direction::Produce, &input(&[])).await,
            Ok(Vec::new()),
            "{:?}",
            guest.language
        );
        assert_eq!(guest.obey(&["keep"]).await, Ok(vec![None]));
    }
}

#[tokio::test]
async fn origins_places_and_times_are_told() {
    for mut guest in guests().await {
        let place = |path, offset: &str| format!("{path} User:größe app in 0 yes {offset} {FIRST_TIMESTAMP}");
        let consumed = place("consume", &FIRST_OFFSET.to_string());
        guest.check_answers(Direction::Fetch, [("where", Some(&consumed))]).await;
        let sent = place("send", "-");
        guest.check_answers(Direction::Produce, [("where", Some(&sent))]).await;
    }
}

#[tokio::test]
async fn config_values_are_told() {
    for mut guest in guests().await {
        let answers = [
            ("config plain", Some("some text")),
            ("config empty", Some("")),
            ("config größe", Some("größe 🌊")),
            ("config missing", None),
        ];
        guest.check_answers(Direction::Produce, answers).await;
    }
}

#[tokio::test]
async fn log_lines_have_their_level() {
    for mut guest in guests().await {
        let started = (LogSource::Log, LogLevel::Info, "started judge".to_owned());
        assert_eq!(guest.logged(), [started], "{:?}", guest.language);
        guest
            .obey(&["log trace a b", "log debug größe 🌊", "log info c", "log warn d", "log error e"])
            .await
            .unwrap();
        let expected = [
            (LogLevel::Trace, "a b"),
            (LogLevel::Debug, "größe 🌊"),
            (LogLevel::Info, "c"),
            (LogLevel::Warn, "d"),
            (LogLevel::Error, "e"),
        ]
        .map(|(level, text)| (LogSource::Log, level, text.to_owned()));
        assert_eq!(guest.logged(), expected, "{:?}", guest.language);
    }
}

#[tokio::test]
async fn standard_output_is_logged() {
    for mut guest in guests().await {
        guest.logged();
        if !guest.language.deviates(Deviation::Freestanding) {
            guest.obey(&["print some text"]).await.unwrap();
            let printed = (LogSource::Stdout, LogLevel::Info, "some text".to_owned());
            assert_eq!(guest.logged(), [printed], "{:?}", guest.language);
        }
    }
}

#[tokio::test]
async fn counters_add_up() {
    for mut guest in guests().await {
        guest
            .obey(&["count records 2", "count large 18446744073709551615", "count records 3"])
            .await
            .unwrap();
        let counters = guest.counters.lock();
        assert_eq!((counters["records"], counters["large"]), (5, u64::MAX), "{:?}", guest.language);
    }
}

#[tokio::test]
async fn an_error_is_a_fault_and_the_instance_lives_on() {
    for mut guest in guests().await {
        let fault = guest.obey(&["keep", "fail cannot größe"]).await.unwrap_err();
        assert!(fault.instance_survives(), "{:?}: {fault}", guest.language);
        assert!(fault.to_string().contains("cannot größe"), "{:?}: {fault}", guest.language);
        assert_eq!(guest.obey(&["keep"]).await, Ok(vec![None]));
    }
}

#[tokio::test]
async fn starting_may_be_refused_with_words() {
    for language in languages() {
        let started = start(language, &[("init", "refuse no größe given")], limits()).await;
        let refused = started.map(|_| ()).unwrap_err();
        assert_eq!(refused, PluginError::InitRefused("no größe given".to_owned()), "{language:?}");
    }
}

#[tokio::test]
async fn a_trap_or_a_loop_while_starting_gives_no_instance() {
    for language in languages() {
        let failed =
            async |init, limits| start(language, &[("init", init)], limits).await.map(|_| ()).unwrap_err();
        let trapped = failed("trap out of ideas", limits()).await;
        let PluginError::InitFailed(ProcessFault::Trap { message, .. }) = &trapped else {
            panic!("{language:?}: {trapped}")
        };
        assert!(message.contains("out of ideas"), "{language:?}: {message}");
        let hung = failed("loop", quick()).await;
        assert!(
            matches!(hung, PluginError::InitFailed(ProcessFault::Timeout { .. })),
            "{language:?}: {hung}"
        );
    }
}

#[tokio::test]
async fn a_trap_ends_the_instance_and_tells_why() {
    for guest in guests().await {
        let language = guest.language;
        let fault = guest.fatal("trap out of ideas").await;
        let ProcessFault::Trap { message, .. } = &fault else { panic!("{language:?}: {fault}") };
        assert!(message.contains("out of ideas"), "{language:?}: {message}");
    }
}

#[tokio::test]
async fn an_endless_loop_is_cut() {
    for language in languages() {
        let fault = start(language, &[], quick()).await.unwrap().fatal("loop").await;
        assert_eq!(fault, ProcessFault::Timeout { after: quick().batch_time_max }, "{language:?}");
    }
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    for mut guest in guests().await {
        let language = guest.language;
        let fault = guest.obey(&["keep", "grow"]).await.unwrap_err();
        if language.deviates(Deviation::OutOfMemoryIsAnError) {
            assert_eq!(fault, ProcessFault::GaveUp("out of memory".to_owned()), "{language:?}");
        } else {
            let bytes_max = limits().memory_bytes_max as u64;
            assert_eq!(fault, ProcessFault::OutOfMemory { bytes_max }, "{language:?}");
        }
    }
}

#[tokio::test]
async fn memory_is_given_back() {
    let batch = input(&[Content { key: None, value: Some(vec![b'x'; ROUND_BYTES]), headers: Vec::new() }]);
    for mut guest in guests().await {
        let language = guest.language;
        let mut fault = None;
        for _ in 0..ROUNDS {
            fault = fault.or(guest.judge(Direction::Produce, &batch).await.err());
        }
        let is_lost = matches!(fault, Some(ProcessFault::OutOfMemory { .. }));
        assert_eq!(is_lost, language.deviates(Deviation::LosesMemory), "{language:?}: {fault:?}");
        assert!(is_lost || fault.is_none(), "{language:?}: {fault:?}");
    }
}

#[tokio::test]
async fn acknowledgements_and_the_end_are_told() {
    let acknowledgement = |outcome| Acknowledgement {
        topic: TopicName::new("in"),
        partition: PartitionIndex::ZERO,
        record_count: 3,
        outcome,
    };
    let offset = Offset::from_wire(FIRST_OFFSET).unwrap();
    let told = [acknowledgement(Ok(offset)), acknowledgement(Err("MESSAGE_TOO_LARGE"))];
    for mut guest in guests().await {
        guest.logged();
        guest.instance.acknowledge(&told).await.unwrap();
        let lines = Arc::clone(&guest.lines);
        guest.instance.close().await.unwrap();
        let messages: Vec<_> = lines.lock().iter().map(|line| line.message.clone()).collect();
        let first = format!("acknowledged in 0 3 {FIRST_OFFSET}");
        let expected = [first.as_str(), "acknowledged in 0 3 MESSAGE_TOO_LARGE", "closed"];
        assert_eq!(messages, expected, "{:?}", guest.language);
    }
}

#[tokio::test]
async fn the_examples_run() {
    let with_value = |value: &[u8]| Content { value: Some(value.to_vec()), headers: Vec::new(), ..told("") };
    let rejected = |code, message: &str| Some(Verdict::Reject { code, message: message.to_owned() });

    let mut rules = start(language("python"), &[("example", "yes")], limits()).await.unwrap();
    let order = |total| {
        let text =
            format!(r#"{{"currency":"EUR","total":"{total}","items":[{{"quantity":2,"price":"6.25"}}]}}"#);
        with_value(text.as_bytes())
    };
    let judged = rules.judge(Direction::Produce, &input(&[order("12.50"), order("12.51")])).await.unwrap();
    let wrong = rejected(RejectionCode::InvalidRecord, "the total is 12.51, and the items' sum 12.50");
    assert_eq!(judged, [None, wrong]);

    let mut masker = start(language("javascript"), &[("example", "yes")], limits()).await.unwrap();
    let stored =
        input(&[with_value("größe".as_bytes()), with_value(b"4111 1111 1111 1111, ann@example.org")]);
    let judged = masker.judge(Direction::Fetch, &stored).await.unwrap();
    assert_eq!(judged, [None, replaced(None, &with_value(b"************1111, ***@***"))]);

    let module = HOST.compile(&guest("text-only")).unwrap().digest;
    let mut text_only = start_module(language("c"), &module, &[("bytes_max", "7")], limits()).await.unwrap();
    let sent = ["größe".as_bytes(), b"\xff", b"too long"].map(with_value);
    let judged = text_only.judge(Direction::Produce, &input(&sent)).await.unwrap();
    let expected = [
        None,
        rejected(RejectionCode::InvalidRecord, "the value is not UTF-8"),
        rejected(RejectionCode::PolicyViolation, "a value of 8 bytes is longer than 7"),
    ];
    assert_eq!(judged, expected);
}
