//! Machines that are left alone for a while: rules and schedules pass them over, people's jobs do not.

use super::{Master, Part, memory::Book, roster::cut, target::refuse, timers::Timer};
use model::{
    Caller, Maintenance, MaintenanceAct, MinionId, Reply,
    api::{ErrorKind, ErrorView},
};
use serde_json::json;

/// Shortest and longest time, in milliseconds.
const FOR_MS: std::ops::RangeInclusive<u64> = 1_000..=366 * 86_400_000;
/// How rules come.
pub(crate) const REACTOR: &str = "reactor";
/// Longest reason.
const REASON_CHARS_MAX: usize = 256;

impl Master {
    /// Why and until when a machine is left alone, if it is.
    pub(crate) fn maintenance(&self, id: &MinionId) -> Option<Maintenance> {
        maintenance_in(&self.book, id)
    }

    /// Whether rules and schedules pass a machine over.
    pub fn is_maintained(&self, id: &MinionId) -> bool {
        self.live.get(id).is_some_and(|it| it.maintenance)
    }

    /// Whether a rule leaves a machine alone now.
    pub(crate) fn passes_over(&self, rule: &str, id: &MinionId) -> bool {
        let ignores = || self.reactor.rule(rule).is_some_and(|it| it.clauses.in_maintenance);
        self.is_maintained(id) && !ignores()
    }

    /// Whether somebody's job may be done on a machine now: people's always, a rule's unless it leaves the machine alone.
    pub(crate) fn is_left_to(&self, caller: &Caller, id: &MinionId) -> bool {
        let rule = caller.name.strip_prefix("rule:").filter(|_| caller.via == REACTOR);
        rule.is_none_or(|rule| !self.passes_over(rule, id))
    }

    /// Whom a rule means without those that are left alone, and a word about these.
    pub(crate) fn leave_out_maintained(
        &self,
        rule: &str,
        minions: Result<Vec<MinionId>, ErrorView>,
    ) -> (Result<Vec<MinionId>, ErrorView>, String) {
        let Ok(mut minions) = minions else { return (minions, String::new()) };
        let before = minions.len();
        minions.retain(|it| !self.passes_over(rule, it));
        let said = match before - minions.len() {
            0 => String::new(),
            many => format!(" ({many} in maintenance left out)"),
        };
        (Ok(minions), said)
    }

    pub(crate) fn maintained_count(&self) -> u32 {
        u32::try_from(self.live.values().filter(|it| it.maintenance).count()).unwrap_or(u32::MAX)
    }

    /// After a start: who is left alone still.
    pub(crate) fn wake_maintenance(&mut self) {
        let ids: Vec<MinionId> =
            self.book.kept_of(Part::Maintenance).filter_map(|(id, _)| id.parse().ok()).collect();
        for id in ids {
            let Some(it) = self.maintenance(&id) else { continue };
            if let Some(live) = self.live.get_mut(&id) {
                live.maintenance = true;
                if let Some(until) = it.until {
                    self.wake_at(until, Timer::Maintenance(id));
                }
            }
        }
    }

    /// Its time may be over; it may also have been given another one.
    pub(crate) fn check_maintenance(&mut self, id: &MinionId) {
        let until = self.maintenance(id).and_then(|it| it.until);
        if until.is_some_and(|it| it <= self.now) {
            self.end_maintenance(id, "its time is over");
        }
    }

    fn end_maintenance(&mut self, id: &MinionId, reason: &str) {
        if let Some(live) = self.live.get_mut(id) {
            live.maintenance = false;
        }
        self.keep(Part::Maintenance, id.as_str(), None);
        self.work_out_conduct(id);
        self.release_rules(id);
        let data = json!({"minion": id, "on": false, "until": null, "reason": reason});
        self.emit_master(format!("minion/{id}/maintenance"), data);
        // A boot that nobody configured meanwhile is due now.
        self.due_boots(id);
    }

    /// The minion is no member any more.
    pub(crate) fn forget_maintenance(&mut self, id: &MinionId) {
        if self.maintenance(id).is_some() {
            self.keep(Part::Maintenance, id.as_str(), None);
        }
    }

    /// An operator says so.
    pub(crate) fn maintain(
        &mut self,
        caller: Caller,
        target: &str,
        act: MaintenanceAct,
    ) -> Result<Reply, ErrorView> {
        let minions = self.expand(target)?;
        let usage = |message: &str| Err(refuse(ErrorKind::Usage, message.to_owned(), None));
        let by = caller.name.clone();
        match act {
            MaintenanceAct::On { for_ms: Some(ms), .. } if !FOR_MS.contains(&ms) => {
                return usage("maintenance lasts 1 s to 366 d");
            }
            MaintenanceAct::On { for_ms, reason } => {
                let reason = cut(&reason.replace(char::is_control, " "), REASON_CHARS_MAX);
                let what = format!("maintenance on `{}`: {reason}", cut(target, 256));
                self.audit(caller, what, "accepted".to_owned());
                let until = for_ms.map(|ms| self.now.plus_ms(ms));
                for id in &minions {
                    let since = self.maintenance(id).map_or(self.now, |it| it.since);
                    let it = Maintenance { since, until, reason: reason.clone(), by: by.clone() };
                    self.begin_maintenance(id, &it);
                }
            }
            MaintenanceAct::Off => {
                self.audit(caller, format!("maintenance off `{}`", cut(target, 256)), "accepted".to_owned());
                for id in &minions {
                    if self.is_maintained(id) {
                        self.end_maintenance(id, &format!("ended by {by}"));
                    }
                }
            }
        }
        Ok(Reply::Minions(minions.iter().filter_map(|id| self.minion_view(id, None)).collect()))
    }

    fn begin_maintenance(&mut self, id: &MinionId, it: &Maintenance) {
        if let Some(live) = self.live.get_mut(id) {
            live.maintenance = true;
        }
        self.keep(Part::Maintenance, id.as_str(), serde_json::to_value(it).ok());
        if let Some(until) = it.until {
            self.wake_at(until, Timer::Maintenance(id.clone()));
        }
        self.work_out_conduct(id);
        let data = json!({"minion": id, "on": true, "until": it.until, "reason": it.reason, "by": it.by});
        self.emit_master(format!("minion/{id}/maintenance"), data);
    }
}

/// Why and until when a machine is left alone, as far as a book tells.
pub(crate) fn maintenance_in(book: &Book, id: &MinionId) -> Option<Maintenance> {
    let kept = book.kept.get(&(Part::Maintenance, id.as_str().to_owned()))?;
    serde_json::from_value(kept.clone()).ok()
}

#[cfg(test)]
mod tests;
