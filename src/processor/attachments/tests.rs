use super::*;
use crate::interceptor::{FaultPolicy, InterceptorLimits};
use crate::plugin::Direction;
use crate::processor::fake_host::FakeHost;
use crate::processor::registry::ModuleEntry;
use std::sync::atomic::Ordering;

struct Fixture {
    host: Arc<FakeHost>,
    registry: Arc<Registry>,
    digest: String,
}

impl Fixture {
    async fn new() -> Fixture {
        let host = Arc::new(FakeHost::new());
        let digest = host.compile(b"interceptor").unwrap().digest.to_string();
        let registry = Arc::new(Registry::volatile());
        let entry = ModuleEntry {
            digest: digest.clone(),
            names: Default::default(),
            world: "interceptor-flat".to_owned(),
            imports: Vec::new(),
            module_bytes: 1,
            compiled_bytes: 1,
            compile_ms: 1,
        };
        registry.put_module(entry).await.unwrap();
        Fixture { host, registry, digest }
    }

    async fn start(&self) -> (Attachments, Arc<Interceptors>) {
        let interceptors = Arc::new(Interceptors::default());
        let attachments = Attachments::start(AttachmentsOptions {
            interceptors: Arc::clone(&interceptors),
            host: self.host.clone(),
            registry: Arc::clone(&self.registry),
            clock: Clock::System,
            logs: PluginLogs::default(),
        });
        (attachments.await.unwrap(), interceptors)
    }

    fn attachment(&self, name: &str) -> Attachment {
        Attachment {
            name: name.to_owned(),
            module: self.digest.clone(),
            topics: vec!["t".to_owned()],
            principals: vec!["*".to_owned()],
            paths: vec![Direction::Produce],
            order: 100,
            on_fault: FaultPolicy::FailClosed,
            config: BTreeMap::new(),
            limits: InterceptorLimits::default(),
        }
    }
}

fn names(interceptors: &Interceptors) -> Vec<String> {
    interceptors.links().iter().map(|link| link.attachment().name.clone()).collect()
}

#[tokio::test]
async fn what_is_attached_is_in_force_again_after_a_restart() {
    let fixture = Fixture::new().await;
    let (attachments, interceptors) = fixture.start().await;
    attachments.attach(fixture.attachment("b")).await.unwrap();
    attachments.attach(fixture.attachment("a")).await.unwrap();
    assert_eq!(names(&interceptors), ["a", "b"]);
    let (_, restarted) = fixture.start().await;
    assert_eq!(names(&restarted), ["a", "b"]);
    attachments.detach("a").await.unwrap();
    assert_eq!(names(&interceptors), ["b"]);
    assert!(interceptors.chain(Direction::Produce, "t", "User:x").is_some());
    assert!(interceptors.chain(Direction::Fetch, "t", "User:x").is_none());
}

#[tokio::test]
async fn an_attachment_whose_module_is_gone_stays_in_force_and_refuses() {
    let fixture = Fixture::new().await;
    let (attachments, _) = fixture.start().await;
    attachments.attach(fixture.attachment("a")).await.unwrap();
    fixture.host.remove(&fixture.digest.parse().unwrap()).unwrap();
    let (_, restarted) = fixture.start().await;
    assert_eq!(names(&restarted), ["a"]);
    let fault = restarted.link("a").unwrap().warm_up().await.unwrap_err();
    assert!(fault.message.contains("there is no module"), "{fault}");
}

#[tokio::test]
async fn replacing_an_attachment_leaves_the_others_their_instances() {
    let fixture = Fixture::new().await;
    let (attachments, interceptors) = fixture.start().await;
    attachments.attach(fixture.attachment("a")).await.unwrap();
    attachments.attach(fixture.attachment("b")).await.unwrap();
    let before = interceptors.link("a").unwrap();
    let replaced = Attachment { order: 1, ..fixture.attachment("b") };
    assert_eq!(attachments.attach(replaced).await, Ok(Attached::Replaced));
    assert_eq!(names(&interceptors), ["b", "a"]);
    assert!(Arc::ptr_eq(&before, &interceptors.link("a").unwrap()));
    assert_eq!(fixture.host.intercepted.made.load(Ordering::SeqCst), 3);
}
