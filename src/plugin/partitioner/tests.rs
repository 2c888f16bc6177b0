use super::*;

#[test]
fn choices_are_taken_as_they_are() {
    let chosen = check_choices(&[2, 0, 2], 3, 3).unwrap();
    assert_eq!(chosen.iter().map(|partition| partition.value()).collect::<Vec<_>>(), [2, 0, 2]);
    assert_eq!(check_choices(&[], 3, 0).unwrap(), []);
}

#[test]
fn a_choice_too_many_or_too_few_is_refused() {
    let few = check_choices(&[0], 3, 2).unwrap_err();
    assert_eq!(few.0, "it chooses 1 partitions for 2 records");
    let many = check_choices(&[0, 0, 0], 3, 2).unwrap_err();
    assert_eq!(many.0, "it chooses 3 partitions for 2 records");
}

#[test]
fn a_partition_that_does_not_exist_is_refused() {
    for choice in [3, u32::MAX, 1 << 31] {
        let wrong = check_choices(&[0, choice], 3, 2).unwrap_err();
        assert_eq!(wrong.0, format!("it chooses partition {choice} for record 1, and there are 3"));
    }
}
