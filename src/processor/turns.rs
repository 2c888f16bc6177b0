//! Turns of the processors' modules: who may run when there are fewer cores than calls.
//!
//! A call runs on a blocking thread, and as many run at a time as there are cores, and one more. No processor has more
//! than the cores' number, so that one is left for whoever comes next. Where several wait, the processor goes first
//! whose calls have taken the least time: start-time fair queueing, by time that was taken. A long call gives way after
//! each slice of its time, so that no number of endless loops keeps anybody waiting for long. Nobody saves up turns by waiting, and nobody who is alone waits, but for those with a share of the cores
//! that is less than all: such a processor pauses after each turn until, in the mean, it has had no more than that.

use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The turns of one broker.
#[derive(Clone)]
pub struct Turns {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    cores: usize,
    running: usize,
    /// The time at which the last turn began, in the time that processors have taken.
    now: Duration,
    processors: BTreeMap<String, Processor>,
}

#[derive(Default)]
struct Processor {
    /// How much time its calls have taken; not less than that of the last that began, when it comes anew.
    taken: Duration,
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    /// When it has had no more than its share of the cores again.
    pauses_until: Option<Instant>,
}

/// The right to run. Given back when it is dropped, with the time that it was held.
pub struct Turn {
    turns: Turns,
    processor: String,
    began: Instant,
    cpu_percent: u64,
}

impl Turns {
    /// Turns on so many cores.
    pub fn new(cores: usize) -> Turns {
        Turns { queue: Arc::new(Mutex::new(Queue { cores: cores.max(1), ..Queue::default() })) }
    }

    /// How long a processor pauses for the turns that it has had beyond its share.
    pub fn pause(&self, processor: &str) -> Duration {
        let until = self.queue.lock().processors.get(processor).and_then(|known| known.pauses_until);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits for a turn of this processor, which may have this share of all cores, in percent.
    pub async fn take(&self, processor: &str, cpu_percent: u64) -> Turn {
        let mut turn = self.next_turn(processor).await;
        turn.cpu_percent = cpu_percent;
        turn
    }

    fn anybody_waits(&self) -> bool {
        self.queue.lock().processors.values().any(|processor| !processor.waiting.is_empty())
    }

    async fn next_turn(&self, processor: &str) -> Turn {
        let turn = {
            let mut queue = self.queue.lock();
            let (sender, turn) = oneshot::channel();
            let now = queue.now;
            let known = queue.processors.entry(processor.to_owned()).or_default();
            if known.is_idle() {
                known.taken = known.taken.max(now);
            }
            known.waiting.push_back(sender);
            turn
        };
        self.give();
        // Dropped only with the queue, which this keeps.
        turn.await.unwrap_or_else(|_| self.turn_of(processor))
    }

    fn turn_of(&self, processor: &str) -> Turn {
        Turn { turns: self.clone(), processor: processor.to_owned(), began: Instant::now(), cpu_percent: 100 }
    }

    /// Gives turns to whoever may have them.
    fn give(&self) {
        loop {
            let Some((processor, waiter)) = self.queue.lock().next() else { return };
            // Whoever does not wait any more drops the turn, which gives it back.
            drop(waiter.send(self.turn_of(&processor)));
        }
    }
}

/// The turn of a call under way, which the call itself gives back for others to go first.
#[derive(Default)]
pub struct HeldTurn(Mutex<Option<Turn>>);

impl HeldTurn {
    /// The call begins.
    pub fn hold(&self, turn: Turn) {
        *self.0.lock() = Some(turn);
    }

    /// The call is over.
    pub fn release(&self) {
        drop(self.0.lock().take());
    }

    /// A slice of the call's time is over. Waits for the next turn if somebody else waits for one, and for as long as
    /// the processor has had more than its share. For threads that may block; without a turn nothing is waited for.
    pub fn give_way(&self) {
        let Some(turn) = self.0.lock().take() else { return };
        let (turns, processor, cpu_percent) = (turn.turns.clone(), turn.processor.clone(), turn.cpu_percent);
        if !turns.anybody_waits() && cpu_percent >= 100 {
            *self.0.lock() = Some(turn);
            return;
        }
        drop(turn);
        let next = Handle::current().block_on(async {
            let pause = turns.pause(&processor);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            turns.take(&processor, cpu_percent).await
        });
        *self.0.lock() = Some(next);
    }
}

impl Queue {
    /// Whose turn is next; it is counted as running.
    fn next(&mut self) -> Option<(String, oneshot::Sender<Turn>)> {
        if self.running > self.cores {
            return None;
        }
        let may_run = |(_, processor): &(&String, &mut Processor)| {
            processor.running < self.cores && !processor.waiting.is_empty()
        };
        let waiting = self.processors.iter_mut().filter(may_run);
        let (name, processor) = waiting.min_by_key(|(_, processor)| processor.taken)?;
        let waiter = processor.waiting.pop_front()?;
        processor.running += 1;
        self.running += 1;
        self.now = self.now.max(processor.taken);
        Some((name.clone(), waiter))
    }

    fn give_back(&mut self, processor: &str, began: Instant, held: Duration, cpu_percent: u64) {
        self.running = self.running.saturating_sub(1);
        let Some(known) = self.processors.get_mut(processor) else { return };
        known.running = known.running.saturating_sub(1);
        known.taken += held;
        if cpu_percent < 100 {
            let cores = self.cores as f64 * cpu_percent.max(1) as f64 / 100.0;
            let from = known.pauses_until.map_or(began, |until| until.max(began));
            known.pauses_until = Some(from + held.div_f64(cores));
        }
        if known.is_idle() && known.taken <= self.now && known.pauses_until.is_none() {
            // It would begin anew with just this.
            self.processors.remove(processor);
        }
    }
}

impl Processor {
    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let held = self.began.elapsed();
        self.turns.queue.lock().give_back(&self.processor, self.began, held, self.cpu_percent);
        self.turns.give();
    }
}

#[cfg(test)]
mod tests;
