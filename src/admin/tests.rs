//! The admin API over a bound port, with a cluster in memory and a plugin host written in Rust.

mod open_metrics;

use super::*;
use crate::broker::fixture::TestBroker;
use crate::processor::tests::{Fixture, within};
use serde_json::Value;
use tokio::sync::oneshot;

struct Api {
    fixture: Fixture,
    /// Where records go that come over HTTP.
    cluster: TestBroker,
    base: String,
    supervisor: Arc<Supervisor>,
    _stop: oneshot::Sender<()>,
}

impl Api {
    async fn new() -> Api {
        Api::over(Fixture::new().await).await
    }

    async fn over(fixture: Fixture) -> Api {
        let supervisor = Arc::new(fixture.supervisor());
        let cluster = TestBroker::new();
        cluster.broker.set_partitioner_modules(fixture.registry.partitioner_modules());
        let producer = InlineProducer::new(
            Arc::clone(&cluster.broker),
            fixture.host.clone(),
            fixture.registry.clone(),
            TaskLimits::default(),
        );
        let state = AdminState {
            host: fixture.host.clone(),
            registry: fixture.registry.clone(),
            supervisor: supervisor.clone(),
            attachments: Arc::new(fixture.attachments().await),
            state_queries: Arc::new(fixture.state_queries()),
            producer: Arc::new(producer),
            ready: Arc::new(|| Ok(())),
            module_bytes_max: 1_000,
            defaults: DeploymentDefaults::default(),
            compilations: Compilations::default(),
        };
        let listener = AdminListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listener.address());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(listener.serve(state, async { drop(stopped.await) }));
        Api { fixture, cluster, base, supervisor, _stop: stop }
    }

    /// Status and JSON of one call.
    async fn call(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        let (method, url, body) = (method.to_owned(), format!("{}{path}", self.base), body.into());
        let answered = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::new_with_config(
                ureq::Agent::config_builder().http_status_as_error(false).build(),
            );
            let mut response = match method.as_str() {
                "GET" => agent.get(&url).call(),
                "DELETE" => agent.delete(&url).call(),
                "PUT" => agent.put(&url).send(&body[..]),
                _ => agent.post(&url).send(&body[..]),
            }
            .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
        });
        within(answered).await.unwrap()
    }

    async fn deploy(&self, name: &str, body: Value) -> (u16, Value) {
        self.call("PUT", &format!("/v1/processors/{name}"), body.to_string()).await
    }

    async fn send(&self, topic: &str, body: Value) -> (u16, Value) {
        self.call("POST", &format!("/v1/topics/{topic}/records"), body.to_string()).await
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_module_is_uploaded_listed_shown_and_deleted() {
    let api = Api::new().await;
    let (status, uploaded) = api.call("POST", "/v1/modules?name=job", "some bytes").await;
    assert_eq!((status, uploaded["name"].as_str()), (201, Some("job")));
    assert_eq!(api.call("POST", "/v1/modules?name=job", "some bytes").await.0, 200);
    let digest = uploaded["digest"].as_str().unwrap();
    let (_, listed) = api.call("GET", "/v1/modules", "").await;
    assert_eq!(listed["modules"].as_array().unwrap().len(), 2);
    let (status, shown) = api.call("GET", &format!("/v1/modules/{}", &digest[..12]), "").await;
    assert_eq!((status, shown["size_bytes"].as_u64()), (200, Some(10)));
    assert_eq!(api.call("DELETE", "/v1/modules/job", "").await.0, 204);
    let (status, gone) = api.call("GET", "/v1/modules/job", "").await;
    assert_eq!((status, code(&gone)), (404, "MODULE_NOT_FOUND"));
}

#[tokio::test]
async fn a_module_that_is_too_large_empty_or_nonsense_is_refused_in_a_sentence() {
    let api = Api::new().await;
    let (status, answer) = api.call("POST", "/v1/modules", vec![0; 1_001]).await;
    assert_eq!((status, code(&answer)), (413, "MODULE_TOO_LARGE"));
    assert_eq!(answer["error"]["message"], "The module is larger than the limit of 1000 bytes.");
    assert_eq!(api.call("POST", "/v1/modules", "").await.0, 400);
    let (status, answer) = api.call("POST", "/v1/modules", "not wasm").await;
    assert_eq!((status, code(&answer)), (422, "NOT_WEBASSEMBLY"));
    assert_eq!(api.call("POST", "/v1/modules?name=a%20b", "x").await.0, 400);
}

#[tokio::test]
async fn a_processor_that_may_take_more_memory_than_is_left_is_refused_in_a_sentence() {
    let mut fixture = Fixture::new().await;
    fixture.tuning.instances_bytes_max = 100 << 20;
    fixture.cluster.with(|cluster| cluster.ensure_topic("wide", 3));
    let api = Api::over(fixture).await;
    api.call("POST", "/v1/modules?name=job", "some bytes").await;
    let body = |input: &str, bytes: u64| json!({"module": "job", "inputs": [input], "outputs": ["out"], "limits": {"memory_bytes": bytes}});
    let (status, refused) = api.deploy("q", body("wide", 64 << 20)).await;
    assert_eq!((status, code(&refused)), (422, "NO_MEMORY_LEFT"));
    let message = "Processor \"q\" may take 192.0 MiB: 3 tasks with 64.0 MiB each. All processors may have 100.0 MiB together, of which the others have taken 0.0 MiB.";
    assert_eq!(refused["error"]["message"], message);
    assert_eq!(api.call("GET", "/v1/processors/q", "").await.0, 404, "nothing is left of it");
    // What others may take does not count, only what they have taken.
    assert_eq!(api.deploy("p", body("in", 64 << 20)).await.0, 201);
    assert_eq!(api.deploy("q", body("wide", 32 << 20)).await.0, 201);
    api.fixture.append(&["hoard 40"]);
    api.fixture.caught_up().await;
    let (status, refused) = api.deploy("r", body("in", 64 << 20)).await;
    assert_eq!((status, code(&refused)), (422, "NO_MEMORY_LEFT"));
    assert!(refused["error"]["message"].as_str().unwrap().ends_with("the others have taken 40.1 MiB."));
    assert_eq!(
        api.deploy("p", body("in", 70 << 20)).await.0,
        200,
        "its own memory does not stand in its way"
    );
}

#[tokio::test]
async fn a_processor_is_deployed_runs_is_paused_resumed_and_deleted() {
    let api = Api::new().await;
    api.call("POST", "/v1/modules?name=job", "some bytes").await;
    let body =
        json!({"module": "job", "inputs": ["in"], "outputs": ["fresh"], "config": {"output": "fresh"}});
    let (status, deployed) = api.deploy("p", body.clone()).await;
    assert_eq!((status, deployed["name"].as_str()), (201, Some("p")));
    assert_eq!(api.deploy("p", body).await.0, 200);
    api.fixture.append(&["a", "poison", "say hello"]);
    api.fixture.caught_up().await;
    assert_eq!(api.fixture.values("fresh"), ["a"]);
    crate::processor::tests::until_task(&api.supervisor, |task| task.records_in == 3).await;
    let (_, shown) = api.call("GET", "/v1/processors/p", "").await;
    assert_eq!((shown["state"].as_str(), shown["lag"].as_i64()), (Some("running"), Some(0)));
    assert_eq!(shown["tasks"][0]["committed_offset"].as_i64(), Some(3));
    assert_eq!(shown["last_error"], "record at offset 1 failed (reject): cannot take poison");
    let (_, logs) = api.call("GET", "/v1/processors/p/logs?since=1", "").await;
    assert_eq!(logs["lines"][0]["message"], "hello");
    assert_eq!(logs["next"].as_u64(), Some(2));
    let (status, paused) = api.call("POST", "/v1/processors/p/pause", "").await;
    assert_eq!((status, paused["state"].as_str()), (200, Some("paused")));
    let (_, resumed) = api.call("POST", "/v1/processors/p/resume", "").await;
    assert_ne!(resumed["state"], "paused");
    let (status, refused) = api.call("DELETE", "/v1/modules/job", "").await;
    assert_eq!((status, code(&refused)), (409, "MODULE_IN_USE"));
    assert_eq!(api.call("DELETE", "/v1/processors/p", "").await.0, 204);
    assert_eq!(api.call("DELETE", "/v1/processors/p", "").await.0, 404);
    assert_eq!(api.call("DELETE", "/v1/modules/job", "").await.0, 204);
    api.supervisor.stop().await;
}

#[tokio::test]
async fn a_deployment_that_cannot_be_is_refused_and_changes_nothing() {
    let api = Api::new().await;
    let digest = api.fixture.digest.clone();
    let (status, answer) =
        api.deploy("p", json!({"module": digest, "inputs": ["in"], "outputs": ["in"]})).await;
    assert_eq!((status, code(&answer)), (422, "PROCESSOR_LOOP"));
    let (status, answer) = api.deploy("p", json!({"module": "nothing", "inputs": ["in"]})).await;
    assert_eq!((status, code(&answer)), (404, "MODULE_NOT_FOUND"));
    let (status, answer) = api.deploy("p", json!({"module": digest, "inputs": ["in"], "limit": {}})).await;
    assert_eq!((status, code(&answer)), (400, "UNKNOWN_FIELD"));
    let (_, listed) = api.call("GET", "/v1/processors", "").await;
    assert!(listed["processors"].as_array().unwrap().is_empty());
    assert_eq!(api.fixture.cluster.with(|cluster| cluster.partitions("fresh")), None);
    api.supervisor.stop().await;
}

#[tokio::test]
async fn an_interceptor_is_attached_replaced_counted_and_detached() {
    let api = Api::new().await;
    api.call("POST", "/v1/modules?name=judge", "interceptor").await;
    api.call("POST", "/v1/modules?name=job", "some bytes").await;
    let attach = async |body: &Value| api.call("PUT", "/v1/interceptors/i", body.to_string()).await;
    let body = json!({"module": "judge", "topics": ["orders.*"], "paths": ["produce"]});
    let (status, attached) = attach(&body).await;
    assert_eq!((status, attached["order"].as_i64()), (201, Some(100)), "{attached}");
    assert_eq!(attached["counters"]["produce"]["batches"].as_u64(), Some(0));
    let (status, again) =
        attach(&json!({"module": "judge", "topics": ["*"], "paths": ["fetch"], "order": -1})).await;
    assert_eq!((status, again["order"].as_i64()), (200, Some(-1)));
    let (_, listed) = api.call("GET", "/v1/interceptors", "").await;
    assert_eq!(listed["interceptors"].as_array().unwrap().len(), 1);
    for (wrong, status, expected) in [
        (json!({"module": "judge", "topics": ["a"]}), 400, "MISSING_FIELD"),
        (json!({"module": "judge", "topics": ["a"], "paths": ["produced"]}), 400, "INVALID_REQUEST"),
        (
            json!({"module": "judge", "topics": ["a"], "paths": ["fetch"], "on_falt": "reload"}),
            400,
            "UNKNOWN_FIELD",
        ),
        (json!({"module": "judge", "topics": ["__x"], "paths": ["fetch"]}), 422, "INTERNAL_TOPIC"),
        (json!({"module": "job", "topics": ["a"], "paths": ["fetch"]}), 422, "WRONG_KIND"),
        (json!({"module": "none", "topics": ["a"], "paths": ["fetch"]}), 404, "MODULE_NOT_FOUND"),
        (
            json!({"module": "judge", "topics": ["a"], "paths": ["fetch"], "config": {"refuse": "no"}}),
            422,
            "INSTANTIATE_FAILED",
        ),
    ] {
        let (found, answer) = attach(&wrong).await;
        assert_eq!((found, code(&answer)), (status, expected), "{answer}");
    }
    let (_, unchanged) = api.call("GET", "/v1/interceptors/i", "").await;
    assert_eq!(unchanged["topics"][0], "*");
    let (status, answer) = api.deploy("p", json!({"module": "judge", "inputs": ["in"]})).await;
    assert_eq!((status, code(&answer)), (422, "WRONG_KIND"));
    let (status, answer) = api.call("DELETE", "/v1/modules/judge", "").await;
    assert_eq!((status, code(&answer)), (409, "MODULE_IN_USE"));
    assert_eq!(api.call("GET", "/v1/interceptors/i/logs", "").await.0, 200);
    assert_eq!(api.call("DELETE", "/v1/interceptors/i", "").await.0, 204);
    let (status, answer) = api.call("DELETE", "/v1/interceptors/i", "").await;
    assert_eq!((status, code(&answer)), (404, "INTERCEPTOR_NOT_FOUND"));
    assert_eq!(api.call("DELETE", "/v1/modules/judge", "").await.0, 204);
}

#[tokio::test]
async fn records_are_written_and_each_is_told_its_place() {
    let api = Api::new().await;
    api.cluster.create_topic("t", 2, &[("max.message.bytes", "300")]).await;
    let records = json!([
        {"partition": 1, "value": "text"},
        {"partition": 0, "value": {"a": [1, 2.50]}, "key": "k", "timestamp": 5},
        {"partition": 1, "value": null},
        {"partition": 1, "value": {"base64": "AQI="}},
    ]);
    let (status, answer) = api.send("t", json!({ "records": records })).await;
    assert_eq!(status, 200, "{answer}");
    let places = [(1, 0), (0, 0), (1, 1), (1, 2)];
    let places = places.map(|(partition, offset)| json!({"partition": partition, "offset": offset}));
    assert_eq!(answer, json!({ "records": places }));
    assert_eq!(api.cluster.values("t", 1).await, ["text", "null", "\u{1}\u{2}"]);
    assert_eq!(api.cluster.values("t", 0).await, [r#"{"a":[1,2.5]}"#]);
    let large = "x".repeat(400);
    let mixed = json!([{"partition": 0, "value": "b"}, {"partition": 1, "value": large}]);
    let (status, answer) = api.send("t", json!({ "records": mixed })).await;
    assert_eq!((status, answer["records"][0]["offset"].as_i64()), (207, Some(1)), "{answer}");
    assert_eq!(answer["records"][1]["error"]["code"], "MESSAGE_TOO_LARGE");
    let (status, answer) = api.send("t", json!({"records": [{"value": large}]})).await;
    assert_eq!((status, code(&answer)), (413, "MESSAGE_TOO_LARGE"));
    assert_eq!(answer["records"][0]["error"]["code"], "MESSAGE_TOO_LARGE");
    // Larger than other requests may be.
    api.cluster.create_topic("large", 1, &[("max.message.bytes", "9000000")]).await;
    let (status, answer) = api.send("large", json!({"records": [{"value": "x".repeat(3 << 20)}]})).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn records_go_where_partitioners_say_or_nowhere() {
    let api = Api::new().await;
    api.call("POST", "/v1/modules?name=choose", "partitioner").await;
    api.call("POST", "/v1/modules?name=job", "some bytes").await;
    api.cluster.create_topic("own", 3, &[("tidemill.partitioner", "choose")]).await;
    api.cluster.create_topic("t", 3, &[]).await;
    let (status, answer) = api.send("own", json!({"records": [{"value": "2 a", "partition": 0}]})).await;
    assert_eq!((status, &answer["records"][0]["partition"]), (200, &json!(2)), "{answer}");
    let by = |module: &str, value: &str| json!({"records": [{"value": "1 a"}, {"value": value}], "partitioner": {"module": module}});
    let (status, answer) = api.send("t", by("choose", "0 b")).await;
    assert_eq!((status, &answer["records"][0]["partition"]), (200, &json!(1)), "{answer}");
    let (status, answer) = api.send("t", by("choose", "poison")).await;
    assert_eq!((status, code(&answer)), (422, "PARTITIONER_FAILED"));
    assert_eq!(
        answer["error"]["message"],
        "The partitioner \"choose\" of the request failed at record 1: poison has no place."
    );
    let (status, answer) = api.send("own", json!({"records": [{"value": "trap"}]})).await;
    assert_eq!((status, code(&answer)), (422, "PARTITIONER_FAILED"));
    assert_eq!(
        answer["error"]["message"],
        "The partitioner \"choose\" of topic \"own\" failed: the plugin trapped: unreachable."
    );
    for (module, status, expected) in [("job", 422, "WRONG_KIND"), ("none", 404, "MODULE_NOT_FOUND")] {
        let (found, answer) = api.send("t", by(module, "0")).await;
        assert_eq!((found, code(&answer)), (status, expected), "{answer}");
    }
    assert_eq!(api.cluster.values("t", 1).await, ["1 a"]);
}

#[tokio::test]
async fn records_that_cannot_be_taken_are_refused_with_words() {
    let api = Api::new().await;
    api.cluster.create_topic("t", 2, &[]).await;
    let one = json!({"records": [{"value": "a"}]});
    let (status, answer) = api.send("missing", one.clone()).await;
    assert_eq!((status, code(&answer)), (404, "UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(answer["error"]["message"], "There is no topic \"missing\".");
    assert!(answer["error"]["hint"].as_str().unwrap().contains("tidemill topic create"), "{answer}");
    let (status, answer) = api.send("__consumer_offsets", one).await;
    assert_eq!((status, code(&answer)), (422, "INVALID_TOPIC_EXCEPTION"));
    let (status, answer) = api.send("t", json!({"records": [{"value": "a", "partition": 2}]})).await;
    assert_eq!((status, code(&answer)), (404, "UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(answer["error"]["message"], "Record 0 is for partition 2, and topic \"t\" has 2.");
    let (status, answer) = api.send("t", json!({"records": [{"valeu": "a"}]})).await;
    assert_eq!((status, code(&answer)), (400, "UNKNOWN_FIELD"));
    let (status, answer) = api.call("GET", "/v1/topics/t/records", "").await;
    assert_eq!((status, code(&answer)), (405, "METHOD_NOT_ALLOWED"));
    assert!(api.cluster.values("t", 0).await.is_empty());
}

#[tokio::test]
async fn the_broker_s_own_processors_are_shown_and_left_alone() {
    let api = Api::new().await;
    let mut mover = crate::processor::definition::tests::definition("__ingress.t", &["__ingress.t"], &["t"]);
    mover.work = crate::processor::definition::Work::MoveToPartitions;
    api.fixture.registry.set_movers([mover], Default::default());
    let (status, shown) = api.call("GET", "/v1/processors/__ingress.t", "").await;
    assert_eq!((status, &shown["built_in"]), (200, &json!(true)));
    let path = "/v1/processors/__ingress.t";
    for (method, action, verb) in
        [("POST", "/pause", "paused"), ("POST", "/resume", "resumed"), ("DELETE", "", "deleted")]
    {
        let (status, answer) = api.call(method, &format!("{path}{action}"), "").await;
        assert_eq!((status, code(&answer)), (409, "BUILT_IN"));
        let message = format!(
            "Processor \"__ingress.t\" is the broker's own and belongs to topic t: it cannot be {verb}."
        );
        assert_eq!(answer["error"]["message"], message);
    }
    api.supervisor.stop().await;
}

#[tokio::test]
async fn metrics_are_in_the_open_metrics_format() {
    let api = Api::new().await;
    api.call("POST", "/v1/modules?name=judge", "interceptor").await;
    let body = json!({"module": "judge", "topics": ["*"], "paths": ["produce"]});
    api.call("PUT", "/v1/interceptors/i", body.to_string()).await;
    let url = format!("{}/metrics", api.base);
    let text = tokio::task::spawn_blocking(move || {
        let mut response = ureq::get(&url).call().unwrap();
        assert!(
            response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text")
        );
        response.body_mut().read_to_string().unwrap()
    });
    let text = within(text).await.unwrap();
    for line in [
        "# TYPE tidemill_interceptor_records counter",
        r#"tidemill_interceptor_records_total{interceptor="i",path="produce",verdict="keep"} 0"#,
        r#"tidemill_interceptor_judging_seconds_total{interceptor="i",path="fetch"} 0.0"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
    }
}

#[tokio::test]
async fn health_unknown_paths_and_wrong_methods_answer_in_json() {
    let api = Api::new().await;
    assert_eq!(api.call("GET", "/healthz", "").await.0, 200);
    assert_eq!(api.call("GET", "/readyz", "").await.0, 200);
    let (status, answer) = api.call("GET", "/v2", "").await;
    assert_eq!((status, code(&answer)), (404, "UNKNOWN_PATH"));
    let (status, answer) = api.call("DELETE", "/v1/modules", "").await;
    assert_eq!((status, code(&answer)), (405, "METHOD_NOT_ALLOWED"));
    let (status, answer) = api.call("GET", "/v1/processors/p/logs?since=x", "").await;
    assert_eq!((status, code(&answer)), (400, "INVALID_REQUEST"));
    assert_eq!(api.call("GET", "/v1/processors/p/logs", "").await.0, 404);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_and_no_panic() {
    let first = AdminListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = AdminListener::bind(first.address()).await.unwrap_err();
    assert!(error.to_string().starts_with("the admin API cannot listen on 127.0.0.1:"));
}

/// `/metrics` of an API with a processor that has done a bit of everything, read by a strict parser.
#[tokio::test]
async fn processors_tell_prometheus_what_they_do() {
    let api = Api::new().await;
    api.call("POST", "/v1/modules?name=echo", "the module").await;
    let body = json!({"module": "echo", "inputs": ["in"], "outputs": ["out"], "on_error": {"retries": 0}});
    api.deploy("p", body).await;
    api.fixture.append(&["a", "own seen", "own seen", "own \"Odd\"\n", "poison", "drop"]);
    crate::processor::tests::until_task(&api.supervisor, |task| task.records_in == 6).await;
    let url = format!("{}/metrics", api.base);
    let text =
        tokio::task::spawn_blocking(move || ureq::get(&url).call().unwrap().body_mut().read_to_string());
    let text = within(text).await.unwrap().unwrap();
    let found = open_metrics::parse(&text);
    let value = |series: &str| *found.get(series).unwrap_or_else(|| panic!("no {series} in:\n{text}"));
    for (name, expected) in
        [("records_in", 6.0), ("records_out", 1.0), ("dead_letters", 1.0), ("aborts", 0.0)]
    {
        assert_eq!(value(&format!("tidemill_processor_{name}_total{{processor=\"p\"}}")), expected, "{name}");
    }
    // The call that failed because of the poison was made again in parts, and counted again.
    assert!(value(r#"tidemill_processor_plugin_counter_total{processor="p",counter="seen"}"#) >= 2.0);
    assert!(value(r#"tidemill_processor_plugin_counter_total{processor="p",counter="other"}"#) >= 1.0);
    assert!(value(r#"tidemill_processor_guest_cpu_seconds_total{processor="p"}"#) > 0.0);
    assert_eq!(value(r#"tidemill_processor_guest_memory_bytes{processor="p"}"#), 65536.0);
    let commits = value(r#"tidemill_processor_commits_total{processor="p"}"#);
    assert_eq!(value(r#"tidemill_processor_commit_seconds_bucket{le="+Inf",processor="p"}"#), commits);
    assert_eq!(value(r#"tidemill_processor_state{processor="p",state="running"}"#), 1.0);
    let task = r#"processor="p",topic="in",partition="0""#;
    assert_eq!(value(&format!("tidemill_processor_task_state{{{task},state=\"running\"}}")), 1.0);
    assert_eq!(value(&format!("tidemill_processor_lag_records{{{task}}}")), 0.0);
    assert_eq!(value(&format!("tidemill_processor_lag_seconds{{{task}}}")), 0.0);
    let (_, described) = api.call("GET", "/v1/processors/p", "").await;
    assert!(described["counters"]["seen"].as_u64().unwrap() >= 2, "{described}");
    assert_eq!(described["guest_memory_bytes"], 65536);
    api.supervisor.stop().await;
}
