use super::*;

#[test]
fn the_numbers_are_those_that_the_contract_promises() {
    let mut random = Random::seeded(1_234_567);
    assert_eq!([0; 2].map(|_| random.bits()), [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
}

#[test]
fn numbers_stay_within_their_bounds_and_reach_all_of_them() {
    let mut random = Random::seeded(1);
    let mut seen = [0; 3];
    for _ in 0..3000 {
        seen[random.below(3) as usize] += 1;
        assert!((0.0..1.0).contains(&random.unit()));
    }
    assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    assert_eq!((random.below(0), random.below(1)), (0, 0));
    assert!(random.below(u64::MAX) < u64::MAX);
    assert!(random.chance(1.0) && !random.chance(0.0));
}
