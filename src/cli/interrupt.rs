//! Ctrl-C in verbs that run until stopped: they finish what they hold, then leave with 130.
//!
//! A second Ctrl-C ends the process at once, as the shell expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says whether the user wants to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on. If that cannot be set up, Ctrl-C ends the process as it always does.
    pub fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        let flag = interrupt.clone();
        // The thread lives as long as the process: there is nothing to wait for at its end.
        let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
                return;
            };
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    flag.0.store(true, Ordering::SeqCst);
                }
                #[cfg(unix)]
                if tokio::signal::ctrl_c().await.is_ok() {
                    let _ = rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::KILL,
                    );
                }
            });
        });
        interrupt
    }

    /// Whether Ctrl-C was pressed.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
