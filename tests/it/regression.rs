//! One test for each bug that was found by running the whole, with its cause in a line.

use crate::fixture::TestServer;

/// Cause: the server said that it was ready before it listened for SIGTERM, which then just ended it.
#[test]
fn a_server_that_is_told_to_stop_right_when_it_is_ready_stops_in_order() {
    let mut server = TestServer::child(&[]);
    for _ in 0..5 {
        // The fixture checks the exit status of each stop.
        server.restart();
    }
}
