use super::*;

#[test]
fn jitter_closes_segments_earlier_and_never_later() {
    let config = LogConfig { segment_ms: 1000, segment_jitter_ms: 300, ..LogConfig::default() };
    let rolls: Vec<u64> = (0..1000).map(|seed| config.jittered_roll_ms(seed)).collect();
    assert!(rolls.iter().all(|roll_ms| (701..=1000).contains(roll_ms)));
    assert!(rolls.contains(&701) && rolls.contains(&1000));
    let more_than_all = LogConfig { segment_ms: 10, segment_jitter_ms: 300, ..LogConfig::default() };
    assert!((0..1000).all(|seed| (1..=10).contains(&more_than_all.jittered_roll_ms(seed))));
    let none = LogConfig { segment_ms: 10, ..LogConfig::default() };
    assert_eq!(none.jittered_roll_ms(7), 10);
}
