use super::*;

#[tokio::test]
async fn waiting_between_polls_is_no_use_of_a_thread() {
    let usage = Arc::new(Usage::new());
    let inner = Arc::clone(&usage);
    let mut is_first = true;
    let work = std::future::poll_fn(move |_| match std::mem::take(&mut is_first) {
        true => Poll::Pending,
        false => Poll::Ready(inner.time()),
    });
    let mut work = Timed::new(work, Arc::clone(&usage));
    assert!(futures_util::poll!(&mut work).is_pending());
    let waited = Instant::now();
    while waited.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    let waited = waited.elapsed();
    let Poll::Ready(time) = futures_util::poll!(&mut work) else { panic!("it is ready the second time") };
    assert!(time + waited <= usage.begun.elapsed(), "{time:?} of {:?}", usage.begun.elapsed());
}

#[test]
fn the_longest_wait_counts() {
    let usage = Usage::new();
    for ms in [3, 20, 7] {
        usage.throttle(Duration::from_millis(ms));
    }
    assert_eq!(usage.throttled(), Duration::from_millis(20));
}
