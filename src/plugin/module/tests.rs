use super::*;

#[test]
fn a_digest_survives_its_text() {
    let digest = ModuleDigest::of(b"module");
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert_eq!(format!("sha256:{digest}").parse(), Ok(digest));
}

#[test]
fn texts_that_are_no_digest_are_refused() {
    for text in ["", "12", &"g".repeat(64), &"a".repeat(65), &"a".repeat(63), "ä"] {
        assert_eq!(text.parse::<ModuleDigest>(), Err(NotADigest), "{text}");
    }
}

#[test]
fn a_world_has_one_name_and_an_interface_of_its_own() {
    for world in World::ALL {
        assert_eq!(serde_json::to_value(world).unwrap(), world.to_string());
        assert!(world.to_string().starts_with(&world.kind().to_string()), "{world}");
        assert_eq!(World::ALL.iter().filter(|other| other.interface() == world.interface()).count(), 1);
    }
}
