//! Turns by the time that was taken, which the tests make up: beside it, what they take themselves is nothing.

use super::*;
use futures_util::FutureExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// A turn that is there without waiting.
fn at_once(turns: &Turns, processor: &str) -> Option<Turn> {
    turns.take(processor, 100).now_or_never()
}

/// Gives a turn back as if it had been held so long.
fn hold(mut turn: Turn, seconds: u64) {
    turn.began -= Duration::from_secs(seconds);
    drop(turn);
}

#[tokio::test]
async fn one_processor_has_all_cores_and_leaves_one_turn_to_others() {
    let turns = Turns::new(2);
    let held = [at_once(&turns, "a"), at_once(&turns, "a")].map(Option::unwrap);
    assert!(at_once(&turns, "a").is_none());
    let other = at_once(&turns, "b").unwrap();
    assert!(at_once(&turns, "b").is_none() && at_once(&turns, "c").is_none(), "all are taken");
    drop(other);
    assert!(at_once(&turns, "c").is_some());
    drop(held);
    assert!(at_once(&turns, "a").is_some());
}

#[tokio::test]
async fn the_one_that_has_taken_least_goes_first() {
    let turns = Turns::new(1);
    let (greedy, modest) = (at_once(&turns, "greedy").unwrap(), at_once(&turns, "modest").unwrap());
    hold(modest, 1);
    let other = at_once(&turns, "other").unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let wait = |name: &'static str| {
        let (turns, order) = (turns.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let turn = turns.take(name, 100).await;
            order.lock().push(name);
            hold(turn, 10);
        })
    };
    let waiting = [wait("greedy"), wait("modest"), wait("greedy"), wait("modest")];
    tokio::task::yield_now().await;
    hold(greedy, 1_000);
    for done in waiting {
        done.await.unwrap();
    }
    assert_eq!(*order.lock(), ["modest", "modest", "greedy", "greedy"]);
    drop(other);
    assert_eq!(turns.queue.lock().running, 0);
}

#[tokio::test]
async fn a_processor_that_was_away_has_saved_nothing_up() {
    let turns = Turns::new(1);
    for _ in 0..10 {
        let turn = at_once(&turns, "busy").unwrap();
        hold(turn, 100);
    }
    let newcomer = at_once(&turns, "new").unwrap();
    let taken = |name: &str| turns.queue.lock().processors.get(name).map(|processor| processor.taken);
    assert!(taken("busy") >= Some(Duration::from_secs(1_000)));
    // Not 0, or it would have a quarter of an hour for itself.
    assert!(taken("new") >= Some(Duration::from_secs(900)) && taken("new") < taken("busy"));
    drop(newcomer);
}

#[tokio::test]
async fn whoever_stops_waiting_holds_up_nobody() {
    let turns = Turns::new(1);
    let (a, b) = (at_once(&turns, "a").unwrap(), at_once(&turns, "b").unwrap());
    assert!(at_once(&turns, "c").is_none(), "which has stopped waiting");
    drop((a, b));
    assert!(at_once(&turns, "d").is_some());
    assert_eq!(turns.queue.lock().running, 0);
}

#[tokio::test]
async fn a_share_of_the_cores_is_kept_by_pauses() {
    let turns = Turns::new(2);
    let (begin, second) = (Instant::now(), Duration::from_secs(1));
    let held = |at: Instant| {
        let mut queue = turns.queue.lock();
        // A quarter of two cores is half a core: for each second that a turn was held, two have to pass.
        queue.give_back("modest", at, second, 25);
        queue.processors["modest"].pauses_until.unwrap()
    };
    turns.queue.lock().processors.insert("modest".into(), Processor::default());
    assert_eq!(held(begin), begin + 2 * second);
    // Turns at once add up, and time without any is not saved.
    let later = begin + 100 * second;
    assert_eq!((held(later), held(later)), (later + 2 * second, later + 4 * second));
    assert!(turns.pause("modest") > 50 * second);
    assert_eq!(turns.pause("greedy"), Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_call_gives_way_to_whoever_waits() {
    let turns = Turns::new(1);
    let endless: Vec<_> = (0..4)
        .map(|number| {
            let (turns, stop) = (turns.clone(), Arc::new(AtomicBool::new(false)));
            let stopped = Arc::clone(&stop);
            let run = async move {
                let held = HeldTurn::default();
                held.hold(turns.take(&format!("endless {number}"), 100).await);
                let call = move || {
                    let mut slices = 0u64;
                    while !stopped.load(Ordering::SeqCst) {
                        held.give_way();
                        slices += 1;
                    }
                    slices
                };
                tokio::task::spawn_blocking(call).await.unwrap()
            };
            (tokio::spawn(run), stop)
        })
        .collect();
    for _ in 0..20 {
        // It would wait for ever if they did not.
        drop(turns.take("brief", 100).await);
    }
    for (endless, stop) in endless {
        stop.store(true, Ordering::SeqCst);
        endless.await.unwrap();
    }
    assert_eq!(turns.queue.lock().running, 0);
}

#[tokio::test]
async fn without_a_turn_nobody_gives_way() {
    HeldTurn::default().give_way();
}
