use super::*;

const TOPICS: [(&str, Option<i32>); 4] = [("a", Some(3)), ("b", None), ("c", Some(2)), ("d", Some(1))];

fn at(topic: &str, partition: i32) -> Position {
    Position { topic: TopicName::new(topic), partition }
}

fn page_of(cursor: Option<Position>, limit: i32) -> Page {
    page(TOPICS.iter().map(|(name, count)| (TopicName::new(*name), *count)), cursor, limit)
}

/// A page in one line: partitions as `topic[first..end]`, missing topics as `topic?`, then the cursor.
fn shown(page: &Page) -> String {
    let entries = page.entries.iter().map(|entry| match entry {
        Entry::Partitions { topic, first, end } => format!("{topic}[{first}..{end}]"),
        Entry::Missing(topic) => format!("{topic}?"),
    });
    let next = page.next.iter().map(|next| format!("-> {}-{}", next.topic, next.partition));
    entries.chain(next).collect::<Vec<_>>().join(" ")
}

#[test]
fn everything_that_fits_is_one_page() {
    assert_eq!(shown(&page_of(None, 6)), "a[0..3] b? c[0..2] d[0..1]");
}

#[test]
fn a_page_ends_within_a_topic_or_between_two() {
    assert_eq!(shown(&page_of(None, 2)), "a[0..2] -> a-2");
    assert_eq!(shown(&page_of(None, 3)), "a[0..3] -> b-0");
    assert_eq!(shown(&page_of(Some(at("a", 2)), 2)), "a[2..3] b? c[0..1] -> c-1");
}

#[test]
fn a_cursor_begins_at_its_partition_or_at_the_next_topic() {
    assert_eq!(shown(&page_of(Some(at("c", 1)), 9)), "c[1..2] d[0..1]");
    assert_eq!(shown(&page_of(Some(at("bb", 7)), 9)), "c[0..2] d[0..1]");
    assert_eq!(shown(&page_of(Some(at("c", 9)), 9)), "c[2..2] d[0..1]");
    assert_eq!(shown(&page_of(Some(at("z", 0)), 9)), "");
}

#[test]
fn pages_of_any_size_together_name_every_partition_once() {
    for limit in 1..=7 {
        let mut cursor = None;
        let mut seen = Vec::new();
        loop {
            let page = page_of(cursor, limit);
            for entry in &page.entries {
                if let Entry::Partitions { topic, first, end } = entry {
                    seen.extend((*first..*end).map(|index| format!("{topic}-{index}")));
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a-0", "a-1", "a-2", "c-0", "c-1", "d-0"], "limit {limit}");
    }
}
