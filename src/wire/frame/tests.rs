//! Frames out of streams cut anywhere.

use super::*;

fn framed(bodies: &[&[u8]]) -> BytesMut {
    let mut buffer = BytesMut::new();
    for body in bodies {
        buffer.extend_from_slice(&(body.len() as i32).to_be_bytes());
        buffer.extend_from_slice(body);
    }
    buffer
}

#[test]
fn frames_come_out_in_order_and_the_rest_stays() {
    let mut buffer = framed(&[b"one", b"", b"three"]);
    buffer.extend_from_slice(&[0, 0, 0, 9, 1]);
    assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), &b"one"[..]);
    assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), &b""[..]);
    assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), &b"three"[..]);
    assert_eq!(missing_bytes(&buffer), 8);
    assert_eq!(next_frame(&mut buffer, 100), Ok(None));
    assert_eq!(buffer.len(), 5);
}

#[test]
fn a_stream_that_comes_byte_by_byte_gives_the_same_frames() {
    let stream = framed(&[b"one", b"two"]);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for byte in stream {
        assert!(missing_bytes(&buffer) > 0);
        buffer.extend_from_slice(&[byte]);
        frames.extend(next_frame(&mut buffer, 3).unwrap());
    }
    assert_eq!(frames, [&b"one"[..], b"two"]);
}

#[test]
fn sizes_beyond_the_bound_or_below_zero_are_refused_at_once() {
    let mut buffer = BytesMut::from(&[0, 0, 1, 0][..]);
    assert_eq!(next_frame(&mut buffer, 255), Err(FrameError::TooLarge { bytes: 256, max_bytes: 255 }));
    let mut buffer = BytesMut::from(&[0xff; 4][..]);
    assert_eq!(next_frame(&mut buffer, 255), Err(FrameError::Negative(-1)));
}

#[test]
fn other_protocols_are_named() {
    let error = next_frame(&mut BytesMut::from("GET / HTTP/1.1\r\n"), 100 << 20).unwrap_err();
    assert_eq!(error, FrameError::NotKafka(OtherProtocol::Http));
    assert!(error.to_string().contains("admin port"), "{error}");
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    let error = next_frame(&mut BytesMut::from(&hello[..]), 100 << 20).unwrap_err();
    assert_eq!(error, FrameError::NotKafka(OtherProtocol::Tls));
    assert!(error.to_string().contains("security.protocol"), "{error}");
}
