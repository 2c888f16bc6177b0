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
