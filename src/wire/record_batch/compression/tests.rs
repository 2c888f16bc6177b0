//! Every codec there and back, bounded against bombs and firm against damage.

use proptest::prelude::*;

use super::*;

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn compressed(codec: Compression, plain: &[u8]) -> Bytes {
    Bytes::from(codec.compress(plain))
}

#[test]
fn large_and_empty_regions_come_back() {
    let large: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    for codec in CODECS {
        for plain in [&large[..], b"", b"x"] {
            let back = codec.decompress(&compressed(codec, plain), plain.len()).unwrap();
            assert_eq!(back, plain, "{codec}");
        }
    }
}

#[test]
fn a_bomb_stops_at_the_bound() {
    let bomb = vec![0; 32 << 20];
    for codec in CODECS {
        let packed = compressed(codec, &bomb);
        assert!(packed.len() < 2 << 20, "{codec}");
        let error = codec.decompress(&packed, 1 << 20).unwrap_err();
        assert_eq!(error, BatchError::DecompressedTooLarge { max_bytes: 1 << 20 }, "{codec}");
    }
}

#[test]
fn the_bound_itself_is_allowed() {
    for codec in CODECS {
        let packed = compressed(codec, &[7; 1_000]);
        assert_eq!(codec.decompress(&packed, 1_000).unwrap().len(), 1_000, "{codec}");
        assert!(codec.decompress(&packed, 999).is_err(), "{codec}");
    }
}

#[test]
fn cut_streams_are_errors_or_shorter_but_never_panics() {
    let plain: Vec<u8> = (0..5_000u32).flat_map(u32::to_le_bytes).collect();
    for codec in CODECS {
        let packed = compressed(codec, &plain);
        for cut in (0..packed.len()).step_by(97) {
            if let Ok(back) = codec.decompress(&packed.slice(..cut), plain.len()) {
                assert!(back.len() < plain.len(), "{codec} at {cut}");
            }
        }
    }
}

#[test]
fn snappy_is_read_raw_as_well_as_framed() {
    let plain = b"snappy, snappy, snappy".repeat(10);
    let raw = Bytes::from(snap::raw::Encoder::new().compress_vec(&plain).unwrap());
    assert_eq!(Compression::Snappy.decompress(&raw, 1_000).unwrap(), plain);
    let framed = compressed(Compression::Snappy, &plain);
    assert!(framed.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"));
}

#[test]
fn a_snappy_claim_that_its_bytes_cannot_keep_reserves_nothing() {
    // A preamble that claims 1 GiB, and two bytes behind it.
    let claim = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x00]);
    let error = Compression::Snappy.decompress(&claim, 2 << 30).unwrap_err();
    assert!(matches!(error, BatchError::Decompress { .. }), "{error}");
}

#[test]
fn gzip_members_are_read_one_after_another() {
    let both = [compressed(Compression::Gzip, b"one, "), compressed(Compression::Gzip, b"two")].concat();
    assert_eq!(Compression::Gzip.decompress(&Bytes::from(both), 100).unwrap(), &b"one, two"[..]);
}

#[test]
fn what_is_no_stream_of_the_codec_is_an_error() {
    for codec in CODECS {
        let error = codec.decompress(&Bytes::from_static(b"\xffnot compressed at all"), 1_000).unwrap_err();
        assert!(matches!(error, BatchError::Decompress { .. }), "{codec}: {error}");
    }
}

#[test]
fn names_are_kafkas() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
        assert_eq!(Compression::from_attributes(codec.attribute_bits()), Ok(codec));
    }
    assert_eq!(Compression::from_name("brotli"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_streams_never_panic(
        plain in proptest::collection::vec(0u8..4, 0..3_000),
        codec in 0usize..4,
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..5),
    ) {
        let codec = CODECS[codec];
        let mut packed = codec.compress(&plain);
        prop_assert_eq!(&codec.decompress(&Bytes::from(packed.clone()), 3_000).unwrap()[..], &plain[..]);
        for (at, byte) in changes {
            let at = usize::from(at) % packed.len();
            packed[at] = byte;
        }
        let _ = codec.decompress(&Bytes::from(packed), 3_000);
    }

    #[test]
    fn any_bytes_never_panic(bytes: Vec<u8>, codec in 0usize..4) {
        let _ = CODECS[codec].decompress(&Bytes::from(bytes), 10_000);
    }
}
