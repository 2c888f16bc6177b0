use super::*;

#[test]
fn every_code_is_found_by_its_number_and_numbers_do_not_repeat() {
    for pair in ErrorCode::ALL.windows(2) {
        assert!(pair[0].code() < pair[1].code(), "{} before {}", pair[0], pair[1]);
    }
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from_code(code.code()), Some(*code));
    }
    assert_eq!(ErrorCode::from_code(1000), None);
}

#[test]
fn codes_agree_with_the_protocol_crate() {
    for code in ErrorCode::ALL.iter().filter(|code| code.code() != 0) {
        let theirs = kafka_protocol::ResponseError::try_from_code(code.code()).expect("a known code");
        assert_eq!(theirs.is_retriable(), code.retry() == Retry::Retriable, "{code}");
        assert_eq!(format!("{theirs:?}"), format!("{code:?}"));
    }
}
