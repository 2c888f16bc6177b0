//! Frames, request headers and the bodies of every API: whatever comes in, no panic and no memory
//! beyond the bounds.
#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tidemill::wire::api::SUPPORTED;
use tidemill::wire::frame::next_frame;
use tidemill::wire::request::RequestFrame;

const FRAME_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    as_a_stream(data);
    as_a_body(data);
});

/// The bytes as a client would send them.
fn as_a_stream(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(frame)) = next_frame(&mut buffer, FRAME_BYTES_MAX) {
        decode(frame);
    }
}

/// The first two bytes choose an API and a version that exist, so that bodies are reached at once.
fn as_a_body(data: &[u8]) {
    let [api, version, body @ ..] = data else {
        return;
    };
    let api = SUPPORTED[usize::from(*api) % SUPPORTED.len()];
    let versions = i16::from(*version) % (api.handled.max - api.handled.min + 1);
    let version = api.handled.min + versions;
    let mut frame = BytesMut::new();
    frame.put_i16(api.key as i16);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if api.key.request_header_version(version) >= 2 {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    decode(frame.freeze());
}

fn decode(frame: Bytes) {
    if let Ok(request) = RequestFrame::parse(frame) {
        let _ = request.check_body();
    }
}
