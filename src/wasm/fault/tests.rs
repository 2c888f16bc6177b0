use super::*;

#[test]
fn names_lose_their_hashes_and_nothing_else() {
    assert_eq!(without_hashes("std[d123b7a1a2ed1472]::process::exit"), "std::process::exit");
    assert_eq!(without_hashes("<[u8]>::sort::h0123456789abcdef"), "<[u8]>::sort");
    assert_eq!(without_hashes("a[b::c"), "a[b::c");
}
