//! The way out: nothing new is taken, what was promised is written and told, everybody hears goodbye.

use super::{Daemon, Incoming, Outside, Waiter, unavailable};
use crate::gate::FromGate;
use model::Reply;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

/// How long what is on its way to the disk may take. What does not get there was promised to nobody.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long connections may take to end: what is queued for them is written first.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Between two looks at them.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// From the first signal to the end of the process, whatever hangs.
pub(super) const STOP_MAX: Duration = Duration::from_secs(20);

impl<O: Outside> Daemon<O> {
    /// Until all that was recorded is on disk and what follows from it was done, then says goodbye. Who asks for
    /// something meanwhile is told that nothing was done.
    pub(super) async fn drain(
        &mut self,
        mut inputs: mpsc::Receiver<Incoming>,
        mut gate: mpsc::Receiver<FromGate>,
        mut committed: watch::Receiver<u64>,
    ) {
        let until = Instant::now() + WRITE_MAX;
        for waiting in std::mem::take(&mut self.early) {
            self.refuse(waiting);
        }
        while !self.held.is_lost() && (*committed.borrow() < self.store.submitted() || !self.held.is_empty())
        {
            tokio::select! {
                changed = committed.changed() => match changed {
                    Ok(()) => self.release(),
                    Err(_) => break,
                },
                Some(incoming) = inputs.recv() => self.refuse(incoming),
                () = sleep_until(until) => {
                    warn!("not everything could be written in time: who asked for it was told nothing");
                    break;
                }
            }
        }
        self.release();
        self.outside.say_goodbye();
        let until = Instant::now() + GOODBYE_MAX;
        loop {
            while let Ok(incoming) = inputs.try_recv() {
                self.refuse(incoming);
            }
            // What minions still say is not acknowledged: they say it again. Unread, it would hold them up.
            while gate.try_recv().is_ok() {}
            match self.outside.still_connected() {
                0 => break,
                left if Instant::now() >= until => {
                    info!(left, "some take too long to end: they are left alone");
                    break;
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
        inputs.close();
        while let Ok(incoming) = inputs.try_recv() {
            self.refuse(incoming);
        }
        // Answers are written by the tasks that wait for them.
        sleep(LOOK_EVERY).await;
    }

    fn refuse(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Ask { waiter, .. } | Incoming::Hook(_, waiter) => self.turn_away(waiter),
            Incoming::Answer(ticket, reply) => self.tickets.reply(ticket, *reply),
            Incoming::MastersKept(ticket, _, failure) => {
                let kept = "the list of masters is on disk, and in use from the next start on";
                self.tickets.reply(
                    ticket,
                    match failure {
                        None => Reply::Done(vec![kept.to_owned()]),
                        Some(reason) => unavailable(reason),
                    },
                );
            }
            // Calls that were made go out again after the start, unless their end is on record.
            Incoming::Compiled(_)
            | Incoming::NotCompiled(_)
            | Incoming::Trees(_)
            | Incoming::Pushed(_)
            | Incoming::BadPush(_)
            | Incoming::Roles(_)
            | Incoming::Hooks(_)
            | Incoming::Notifiers(_)
            | Incoming::Called(..)
            | Incoming::Refused(_) => {}
        }
    }

    fn turn_away(&mut self, waiter: Waiter) {
        let ticket = self.tickets.issue(waiter);
        self.tickets.reply(ticket, unavailable(STOPPING.to_owned()));
    }
}

/// What everybody is told who asks for something while the master is on its way out.
pub(super) const STOPPING: &str = "the master is stopping, and nothing was done: ask again when it is back";
