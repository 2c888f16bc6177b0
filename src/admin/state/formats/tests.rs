use super::*;

fn shown((bytes, format): (ShownBytes, &'static str)) -> (String, &'static str) {
    (serde_json::to_string(&bytes).unwrap(), format)
}

#[test]
fn a_value_is_shown_as_what_it_looks_like() {
    let auto = |value: &[u8]| shown(ValueFormat::Auto.show(value));
    assert_eq!(auto(b"tide"), ("\"tide\"".to_owned(), "text"));
    assert_eq!(auto(b""), ("\"\"".to_owned(), "text"));
    assert_eq!(auto("zw\u{f6}lf\n".as_bytes()), ("\"zw\u{f6}lf\\n\"".to_owned(), "text"));
    assert_eq!(auto(&(-3_i64).to_le_bytes()), ("-3".to_owned(), "counter"));
    assert_eq!(auto(&0_i64.to_le_bytes()), ("0".to_owned(), "counter"));
    assert_eq!(auto(b"8 bytes!"), ("\"8 bytes!\"".to_owned(), "text"));
    assert_eq!(auto(&[0xff, 0]), ("\"/wA=\"".to_owned(), "base64"));
}

#[test]
fn what_does_not_fit_the_format_comes_in_base64() {
    assert_eq!(shown(ValueFormat::Text.show(&[0xff])), ("\"/w==\"".to_owned(), "base64"));
    assert_eq!(shown(ValueFormat::Counter.show(b"1")), ("\"MQ==\"".to_owned(), "base64"));
    assert_eq!(shown(ValueFormat::Json.show(b"{")), ("\"ew==\"".to_owned(), "base64"));
    assert_eq!(shown(ValueFormat::Hex.show(&[0, 0xaf])), ("\"00af\"".to_owned(), "hex"));
    assert_eq!(shown(KeyFormat::Text.show(&[0xff])), ("\"/w==\"".to_owned(), "base64"));
    assert_eq!(shown(KeyFormat::Text.show(b"a\0")), ("\"a\\u0000\"".to_owned(), "text"));
    assert_eq!(shown(KeyFormat::Hex.show(b"a\0")), ("\"6100\"".to_owned(), "hex"));
}

#[test]
fn a_document_stays_as_it_is_digit_for_digit() {
    let document = r#"{"n":12345678901234567890123,"a":[1.10]}"#;
    assert_eq!(shown(ValueFormat::Json.show(document.as_bytes())), (document.to_owned(), "json"));
}

#[test]
fn every_key_comes_back_from_every_format() {
    for key in [&b"tide"[..], b"", &[0, 1, 0xfe, 0xff], &[0xfb, 0xef, 0xbe], "\u{f6}".as_bytes()] {
        for (name, format) in KEY_FORMATS {
            let (shown, used) = format.show(key);
            let ShownBytes::Text(text) = shown else { panic!("{name}") };
            let used = KeyFormat::named(used).unwrap();
            assert_eq!(used.parse("the key", &text).unwrap(), key, "{name} {text}");
        }
        assert_eq!(from_base64(&base64_for_urls(key)).unwrap(), key);
    }
}

#[test]
fn what_is_not_of_the_format_is_refused_with_its_text() {
    for bad in ["abc", "0g", "+1", "0x", "\u{f6}"] {
        let error = KeyFormat::Hex.parse("\"from\"", bad).unwrap_err();
        let expected = format!("The text of \"from\" is not hexadecimal: \"{bad}\".");
        assert_eq!((error.message, error.code), (expected, "INVALID_REQUEST".to_owned()));
    }
    assert!(KeyFormat::Base64.parse("the key", "a").is_err());
    assert!(KeyFormat::Base64.parse("the key", "a b=").is_err());
    assert_eq!(KeyFormat::named("unicode").unwrap_err().hint, "It is one of text, hex, base64.");
    assert_eq!(ValueFormat::named("countr").unwrap_err().hint, "Did you mean \"counter\"?");
}
