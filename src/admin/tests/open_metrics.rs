//! A strict reader of the OpenMetrics text format, as far as it is written here: every sample belongs to a family that
//! was described before, families and series come once, histograms add up.

use std::collections::BTreeMap;

/// The values by series, each as it stands: name and labels.
pub(super) fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut family = String::new();
    let mut values = BTreeMap::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (what, rest) = rest.split_once(' ').unwrap();
            let (name, rest) = rest.split_once(' ').unwrap();
            match what {
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                "TYPE" => assert!(kinds.insert(name.to_owned(), rest.to_owned()).is_none(), "{name} twice"),
                other => panic!("{other:?} in {line:?}"),
            }
            name.clone_into(&mut family);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        check_labels(labels.strip_suffix('}').expect("labels end"));
        let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} in {family}"));
        let allowed: &[&str] = match kinds[&family].as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("kind {other:?}"),
        };
        assert!(allowed.contains(&suffix), "{line}");
        let value = value.parse::<f64>().unwrap();
        assert!(values.insert(series.to_owned(), value).is_none(), "{series} twice");
    }
    values
}

/// `name="value",…`, with nothing unescaped in a value.
fn check_labels(mut labels: &str) {
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let end = end_of_value(rest);
        let rest = rest.get(end + 1..).unwrap();
        labels = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn end_of_value(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.expect("a value ends with a quote")
}
