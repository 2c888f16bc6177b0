//! The catalogue: look-ups, refusals, and that nothing is seen before it is kept.

use super::*;
use crate::processor::definition::tests::definition;
use parking_lot::Mutex;

fn module(digest: &str, names: &[&str]) -> ModuleEntry {
    ModuleEntry {
        digest: digest.into(),
        names: names.iter().map(|name| (*name).into()).collect(),
        world: "processor-flat".into(),
        imports: vec![],
        module_bytes: 10,
        compiled_bytes: 20,
        compile_ms: 1,
    }
}

#[tokio::test]
async fn a_module_is_found_by_name_digest_and_unique_beginning() {
    let registry = Registry::volatile();
    registry.put_module(module("abc1", &["first"])).await.unwrap();
    registry.put_module(module("abd2", &["second"])).await.unwrap();
    assert_eq!(registry.module("first").unwrap().digest, "abc1");
    assert_eq!(registry.module("abd").unwrap().digest, "abd2");
    assert_eq!(
        registry.module("ab").unwrap_err().to_string(),
        "\"ab\" is the beginning of 2 modules' digests"
    );
    assert!(matches!(registry.module("zz"), Err(RegistryError::UnknownModule(_))));
    assert!(matches!(registry.module(""), Err(RegistryError::UnknownModule(_))));
}

#[tokio::test]
async fn a_name_moves_to_the_module_uploaded_last_under_it() {
    let registry = Registry::volatile();
    registry.put_module(module("aa", &["job"])).await.unwrap();
    registry.put_module(module("bb", &["job"])).await.unwrap();
    assert_eq!(registry.module("job").unwrap().digest, "bb");
    assert!(registry.module("aa").unwrap().names.is_empty());
}

#[tokio::test]
async fn a_module_in_use_is_not_deleted() {
    let registry = Registry::volatile();
    let digest = "ab".repeat(32);
    registry.put_module(module(&digest, &["job"])).await.unwrap();
    registry.put_processor(definition("p", &["a"], &["b"])).await.unwrap();
    let refused = registry.delete_module("job").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("module {digest} is used by p"));
    registry.delete_processor("p").await.unwrap();
    registry.delete_module("job").await.unwrap();
    assert!(registry.modules().is_empty());
}

#[tokio::test]
async fn the_groups_of_processors_are_kept_while_they_are_deployed() {
    let registry = Registry::volatile();
    registry.put_module(module(&"ab".repeat(32), &[])).await.unwrap();
    let kept = registry.kept_groups();
    let names = || kept.load().iter().map(GroupId::to_string).collect::<Vec<_>>();
    registry.put_processor(definition("p", &["a"], &["b"])).await.unwrap();
    assert_eq!(names(), ["p"]);
    registry.set_run_mode("p", RunMode::Paused, None).await.unwrap();
    assert_eq!(names(), ["p"]);
    registry.delete_processor("p").await.unwrap();
    assert_eq!(names(), [""; 0]);
}

#[tokio::test]
async fn a_processor_needs_a_known_module() {
    let registry = Registry::volatile();
    let refused = registry.put_processor(definition("p", &["a"], &["b"])).await.unwrap_err();
    assert!(matches!(refused, RegistryError::UnknownModule(_)));
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_does_not_happen() {
    let registry = Registry::new(Arc::new(|_| Box::pin(async { Err("the disk is full".to_string()) })));
    let refused = registry.put_module(module("aa", &[])).await.unwrap_err();
    assert_eq!(refused.to_string(), "the change could not be stored: the disk is full");
    assert!(registry.modules().is_empty());
}

#[tokio::test]
async fn the_kept_records_rebuild_the_catalogue() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let sink = kept.clone();
    let registry = Registry::new(Arc::new(move |record: RegistryRecord| {
        sink.lock().push(record.encode().unwrap());
        Box::pin(std::future::ready(Ok(())))
    }));
    registry.put_module(module(&"ab".repeat(32), &["job"])).await.unwrap();
    registry.put_processor(definition("p", &["a"], &["b"])).await.unwrap();
    registry.put_processor(definition("q", &["a"], &["b"])).await.unwrap();
    registry.set_run_mode("p", RunMode::Paused, None).await.unwrap();
    registry.delete_processor("q").await.unwrap();

    let rebuilt = Registry::volatile();
    for bytes in kept.lock().iter() {
        rebuilt.replay(&RegistryRecord::decode(bytes).unwrap());
    }
    assert_eq!(rebuilt.processors(), registry.processors());
    assert_eq!(rebuilt.modules(), registry.modules());
    assert_eq!(rebuilt.processor("p").unwrap().run, RunMode::Paused);
}
