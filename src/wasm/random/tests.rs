use super::*;

#[test]
fn the_numbers_are_those_that_the_algorithms_authors_give() {
    let mut random = SplitMix64::new(1_234_567);
    let numbers: Vec<u64> = (0..5).map(|_| random.next()).collect();
    // The reference output of prng.di.unimi.it's splitmix64.c, which Rosetta Code lists too.
    assert_eq!(
        numbers,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ]
    );
    let mut bytes = numbers.into_iter().flat_map(u64::to_le_bytes);
    assert!(SplitMix64::new(1_234_567).bytes(19).into_iter().eq(bytes.by_ref().take(19)));
}

#[test]
fn a_call_has_its_own_wasi_randomness_and_leaves_the_instances_where_it_was() {
    let mut randomness = WasiRandomness::new();
    let first = randomness.bytes(8).unwrap();
    randomness.enter(1);
    let one = randomness.bytes(8).unwrap();
    randomness.enter(2);
    assert_ne!(randomness.bytes(8).unwrap(), one);
    randomness.enter(1);
    assert_eq!(randomness.bytes(8).unwrap(), one);
    assert_ne!(one, SplitMix64::new(1).bytes(8), "apart from the contract's");
    randomness.leave();
    let second = randomness.bytes(8).unwrap();
    let mut fresh = WasiRandomness::new();
    assert_eq!(fresh.bytes(16).unwrap(), [first, second].concat());
    assert!(fresh.bytes(WASI_BYTES_MAX + 1).is_err());
}
