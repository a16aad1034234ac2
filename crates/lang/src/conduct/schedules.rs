//! The pillar's `schedule`: what a minion brings about by the clock by itself.

use super::Reader;
use crate::{
    say::{Say, did_you_mean, error},
    schedule::Schedule,
};
use model::{Missed, Mode, ScheduleOrder};
use resources::beacons;
use serde_json::{Map, Value};

/// Schedules of one minion.
const SCHEDULES_MAX: usize = 64;
/// Keys beside those that say when.
const OTHERS: [&str; 4] = ["apply", "mode", "maxrunning", "enabled"];
/// What Salt's schedules say in other words.
const SALTS: [&str; 6] = ["function", "job_args", "job_kwargs", "seconds", "minutes", "hours"];

impl Reader<'_, '_> {
    pub(super) fn schedules(&mut self, value: &Value) -> Vec<ScheduleOrder> {
        let Value::Object(map) = value else {
            let message = "`schedule` is a mapping of names to when and what";
            self.complain(error("E0408", message), &["schedule"]);
            return Vec::new();
        };
        // Salt's switch for all of them.
        let off = map.get("enabled").is_some_and(|it| *it == Value::Bool(false));
        let mut orders = Vec::new();
        for (name, value) in map.iter().filter(|it| !(it.0 == "enabled" && it.1.is_boolean())) {
            orders.extend(self.scheduled(name, value));
        }
        if orders.len() > SCHEDULES_MAX {
            let message = format!("{} schedules for one minion", orders.len());
            self.complain(
                error("E0104", message).help(format!("at most {SCHEDULES_MAX} are taken")),
                &["schedule"],
            );
        }
        if off { Vec::new() } else { orders }
    }

    fn scheduled(&mut self, name: &str, value: &Value) -> Option<ScheduleOrder> {
        let path = ["schedule", name];
        if !beacons::is_name(name) {
            let help = "letters, digits, `-`, `_` and `.`, at most 64";
            self.complain(error("E0408", format!("`{name}` is no name for a schedule")).help(help), &path);
            return None;
        }
        if value.is_null() && !self.whole {
            // Another file may say it.
            return None;
        }
        let Value::Object(settings) = value else {
            let help = "such as `{ cron: \"30 3 * * *\", apply: [] }`";
            self.complain(error("E0408", format!("`{name}` is a mapping")).help(help), &path);
            return None;
        };
        if let Some(salts) = SALTS.iter().find(|it| settings.contains_key(**it)) {
            let help =
                "write `every: 1h` or `cron:`, and `apply: [STATES]`, or `apply: []` for what is assigned";
            let message = format!("`{salts}` of Salt's schedules is not known");
            self.complain(error("E0408", message).help(help), &["schedule", name, salts]);
            return None;
        }
        let schedule = match Schedule::of_part(name, settings, &OTHERS, self.whole) {
            Ok(schedule) => Some(schedule),
            Err(told) => {
                for complaint in told {
                    self.complain(error("E0408", complaint), &path);
                }
                None
            }
        };
        let states = self.states(name, settings);
        let mode = self.mode(name, settings);
        self.others(name, settings);
        let schedule = schedule?;
        if schedule.missed() == Missed::All {
            let help = "states converge: the newest makes up for all; `missed` takes `skip` or `once`";
            self.complain(error("E0408", "`missed: all` is for rules of the master").help(help), &path);
            return None;
        }
        let compiled = match schedule.for_minion() {
            Ok(compiled) => compiled,
            Err(why) => {
                self.complain(error("E0408", why), &path);
                return None;
            }
        };
        if settings.get("enabled").is_some_and(|it| *it == Value::Bool(false)) {
            return None;
        }
        Some(ScheduleOrder {
            schedule: compiled,
            states: states?,
            mode: mode?,
            recipe: None,
            why: String::new(),
        })
    }

    fn states(&mut self, name: &str, settings: &Map<String, Value>) -> Option<Vec<String>> {
        let text = |it: &Value| it.as_str().map(str::to_owned);
        let states = match settings.get("apply") {
            None | Some(Value::Null) if !self.whole => return None,
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(items)) => items.iter().map(text).collect(),
            _ => None,
        };
        let Some(states) = states else {
            let help = "names of states; `[]` is what top.sls assigns";
            let complaint = error("E0408", "`apply` is a list of states").help(help);
            self.complain(complaint, &["schedule", name, "apply"]);
            return None;
        };
        let known = self.session.compiler.states();
        for state in states.iter().filter(|it| !known.contains(it)) {
            let help = did_you_mean(state, known.iter().map(String::as_str));
            let complaint = error("E0118", format!("no state named `{state}`")).maybe_help(help);
            self.complain(complaint, &["schedule", name, "apply"]);
        }
        Some(states)
    }

    fn mode(&mut self, name: &str, settings: &Map<String, Value>) -> Option<Mode> {
        match settings.get("mode").map(Value::as_str) {
            None | Some(Some("apply")) => Some(Mode::Apply),
            Some(Some("plan")) => Some(Mode::Check),
            Some(_) => {
                self.complain(error("E0408", "`mode` takes `apply` or `plan`"), &["schedule", name, "mode"]);
                None
            }
        }
    }

    fn others(&mut self, name: &str, settings: &Map<String, Value>) {
        if settings.get("maxrunning").is_some_and(|it| it.as_u64() != Some(1)) {
            let complaint = error("E0408", "`maxrunning` is 1: one run of a schedule at a time");
            self.complain(complaint, &["schedule", name, "maxrunning"]);
        }
        if settings.get("enabled").is_some_and(|it| !it.is_boolean()) {
            self.complain(
                error("E0408", "`enabled` takes `true` or `false`"),
                &["schedule", name, "enabled"],
            );
        }
    }
}
