use super::*;

#[test]
fn every_width_survives_a_round_trip() {
    for value in [0, 1, -1, 63, -64, 64, 300, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
        let mut out = Vec::new();
        put(&mut out, value);
        let mut rest = out.as_slice();
        assert_eq!(take_i64(&mut rest), Some(value));
        assert!(rest.is_empty());
    }
}

#[test]
fn varints_that_are_cut_or_overlong_are_refused() {
    for bytes in
        [&[][..], &[0x80], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]]
    {
        let mut rest = bytes;
        assert_eq!(take_i64(&mut rest), None, "{bytes:?}");
    }
}

#[test]
fn fields_longer_than_their_bytes_are_refused() {
    let mut out = Vec::new();
    put(&mut out, 10);
    out.extend_from_slice(b"short");
    assert_eq!(take_nullable(&mut out.as_slice()), None);
    let mut negative = Vec::new();
    put(&mut negative, -2);
    assert_eq!(take_nullable(&mut negative.as_slice()), None);
}
