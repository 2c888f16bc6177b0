use proptest::prelude::*;

use super::*;
use crate::plugin::put_body;

fn flat(record_count: u32, verdicts: &[(u32, Verdict)]) -> Bytes {
    let mut out = VERDICTS_MAGIC.to_vec();
    out.extend_from_slice(&record_count.to_le_bytes());
    out.extend_from_slice(&u32::try_from(verdicts.len()).unwrap().to_le_bytes());
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    for (index, verdict) in verdicts {
        out.extend_from_slice(&index.to_le_bytes());
        match verdict {
            Verdict::Drop => out.push(1),
            Verdict::Replace { timestamp, body } => {
                out.push(2);
                out.extend_from_slice(&timestamp.unwrap_or(-1).to_le_bytes());
                out.extend_from_slice(&length(body));
                out.extend_from_slice(body);
            }
            Verdict::Reject { code, message } => {
                out.push(3);
                out.push(match code {
                    RejectionCode::InvalidRecord => 0,
                    RejectionCode::PolicyViolation => 1,
                    RejectionCode::TopicAuthorizationFailed => 2,
                });
                out.extend_from_slice(&length(message.as_bytes()));
                out.extend_from_slice(message.as_bytes());
            }
        }
    }
    Bytes::from(out)
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let code = prop_oneof![
        Just(RejectionCode::InvalidRecord),
        Just(RejectionCode::PolicyViolation),
        Just(RejectionCode::TopicAuthorizationFailed)
    ];
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8));
    prop_oneof![
        Just(Verdict::Drop),
        (code, "[a-zé]{0,12}").prop_map(|(code, message)| Verdict::Reject { code, message }),
        (proptest::option::of(0..i64::MAX), bytes(), bytes()).prop_map(|(timestamp, key, value)| {
            let mut body = Vec::new();
            put_body(&mut body, key.as_deref(), value.as_deref(), [("h", value.as_deref())].into_iter());
            Verdict::Replace { timestamp, body: Bytes::from(body) }
        }),
    ]
}

fn verdicts() -> impl Strategy<Value = (u32, Vec<(u32, Verdict)>)> {
    proptest::collection::vec(proptest::option::of(verdict()), 1..12)
        .prop_map(|verdicts| {
            let count = u32::try_from(verdicts.len()).unwrap();
            ((0..).zip(verdicts).filter_map(|(index, verdict)| Some((index, verdict?))).collect(), count)
        })
        .prop_map(|(verdicts, count)| (count, verdicts))
}

proptest! {
    #[test]
    fn honest_verdicts_come_through((count, verdicts) in verdicts()) {
        let checked = Verdicts::check(&flat(count, &verdicts), count).unwrap();
        prop_assert_eq!(&checked, &Verdicts::of(verdicts.clone()));
        for index in 0..count {
            let expected = verdicts.iter().find(|(at, _)| *at == index).map(|(_, verdict)| verdict);
            prop_assert_eq!(checked.on(index), expected);
        }
    }

    /// Whatever the bytes are: an answer, never a panic, and nothing that was not there.
    #[test]
    fn damaged_verdicts_are_read_or_refused(
        (count, verdicts) in verdicts(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..40usize,
    ) {
        let mut bytes = flat(count, &verdicts).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Ok(checked) = Verdicts::check(&Bytes::from(bytes), count) {
            prop_assert!(checked.iter().all(|(index, _)| index < count));
        }
    }
}

#[test]
fn a_message_is_cut_between_characters() {
    assert_eq!(cut_message(&"é".repeat(600)).len(), 1024);
    assert_eq!(cut_message("short"), "short");
    let long = Verdict::Reject { code: RejectionCode::InvalidRecord, message: "x".repeat(1025) };
    let refused = Verdicts::check(&flat(1, &[(0, long)]), 1).unwrap_err();
    assert!(refused.to_string().contains("its message has 1025 bytes"), "{refused}");
}
