use super::*;
use crate::plugin::ScanDirection;

fn asked(query: &[(&str, &str)]) -> Result<ScanQuery, ApiError> {
    let known =
        ["partition", "from", "to", "prefix", "reverse", "limit", "cursor", "key_format", "value_format"];
    let parameters = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Asked::parse(parameters.collect(), &known)?.scan()
}

#[test]
fn a_query_without_parameters_is_the_first_hundred_entries() {
    let query = asked(&[]).unwrap();
    assert_eq!((query.partition, query.entries_max, query.after), (None, 100, None));
    assert_eq!((query.range, query.direction), (KeyRange::default(), ScanDirection::Ascending));
}

#[test]
fn the_format_of_keys_holds_wherever_it_stands() {
    let query = asked(&[("from", "00"), ("to", "ff"), ("key_format", "hex"), ("reverse", "true")]).unwrap();
    assert_eq!((query.range.first.unwrap(), query.range.last.unwrap()), (vec![0].into(), vec![255].into()));
    assert_eq!(query.direction, ScanDirection::Descending);
}

#[test]
fn a_cursor_leads_back_to_where_it_was_made() {
    for key in [&b"key"[..], &[0, 255], b"a.b"] {
        let partition = PartitionIndex::from_wire(7).unwrap();
        let made = ScanPosition { partition, key: key.to_vec().into() };
        let query = asked(&[("cursor", &cursor(&made)), ("partition", "7")]).unwrap();
        assert_eq!(query.after, Some(made));
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_hint() {
    for (query, hint) in [
        (&[("limt", "5")][..], "Did you mean \"limit\"?"),
        (&[("limit", "0")], "It is a number from 1 to 10000; \"cursor\" leads to what comes behind."),
        (&[("limit", "10001")], "It is a number from 1 to 10000; \"cursor\" leads to what comes behind."),
        (&[("partition", "-1")], "Partitions count from 0."),
        (&[("reverse", "yes")], "It is true or false."),
        (&[("cursor", "zero")], "Give the \"next\" of the answer before, or leave it out."),
        (&[("cursor", "0.*")], "Give the \"next\" of the answer before, or leave it out."),
        (&[("cursor", "1.YQ"), ("partition", "0")], "Give the query of the answer that the cursor is from."),
        (&[("key_format", "hex"), ("prefix", "f")], "Give two digits for each byte."),
    ] {
        let error = asked(query).unwrap_err();
        assert_eq!((error.status, error.hint.as_str()), (StatusCode::BAD_REQUEST, hint), "{query:?}");
    }
}
