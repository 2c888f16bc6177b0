use super::*;

fn mark() -> Mark {
    Mark {
        topic: TopicId::from_bytes([7; 16]).unwrap(),
        applied: Offset::from_wire(40).unwrap(),
        applied_at: -1,
        bytes: 100,
        timers: 2,
    }
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    assert_eq!(Mark::decode(&mark().encode()), Some(mark()));
}

#[test]
fn what_is_no_mark_is_none() {
    let good = mark().encode();
    let mut other_version = good.clone();
    other_version[0] = 2;
    let mut no_topic = good.clone();
    no_topic[1..17].fill(0);
    let mut negative = good.clone();
    negative[17] = 0xff;
    for bad in
        [&[][..], &good[..good.len() - 1], &[&good[..], b"x"].concat(), &other_version, &no_topic, &negative]
    {
        assert_eq!(Mark::decode(bad), None);
    }
}

#[test]
fn a_mark_never_goes_below_nothing() {
    let grown = mark().grown(Growth { bytes: -1000, timers: -3 });
    assert_eq!((grown.bytes, grown.timers), (0, 0));
}
