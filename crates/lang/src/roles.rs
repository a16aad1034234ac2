//! Roles: functions by targets by states, deny before allow. Arguments are matched as what they are, never as text.

use crate::{
    glob, role_files,
    target::{Candidate, Target},
};
use model::Compiled;
use std::collections::BTreeMap;

/// Everything that can be allowed, in order of name.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("audit.list", "read, check and export the audit log"),
    (COMMAND, "run commands: only where a line names `cmd.run` or `cmd.*`"),
    ("event.list", "read stored events and watch new ones"),
    ("event.send", "put an event on the bus"),
    ("hook.list", "read hooks, and try what they make of a payload"),
    ("hook.secret", "make secrets for hooks"),
    ("http.call", "let rules call other services"),
    ("job.cancel", "cancel jobs"),
    ("job.list", "read jobs, watch them, read their reports"),
    ("job.undo", "put back what a job altered"),
    ("key.accept", "make a waiting key a member"),
    ("key.enroll", "make tokens that let machines join, and end them"),
    ("key.list", "read keys and tokens that let machines join"),
    ("key.reject", "refuse a waiting key"),
    ("key.revoke", "take a member's key away"),
    ("master.backup", "take a copy of the whole master: keys only as root on its machine"),
    ("master.gc", "delete what is older than the limits"),
    ("master.info", "read the master's certificate, addresses and ports, and the list of masters"),
    ("master.rotate", "put a new list of masters into use"),
    ("master.status", "read the fleet at a glance"),
    ("minion.list", "read what is known of minions, and whom a target matches"),
    ("minion.remove", "forget minions"),
    ("notify.list", "read who can be told, without secrets"),
    ("notify.send", "tell people by notifiers, and test them"),
    ("operator.add", "let operators' keys in"),
    ("operator.remove", "take operators' keys away"),
    ("pillar.show", "read pillar, secrets masked"),
    ("role.explain", "ask who may do what, and by which line"),
    ("rule.list", "read rules and what the reactor decided"),
    ("rule.switch", "switch rules off and on"),
    ("rule.test", "ask what rules would make of an event, and by which values"),
    ("schedule.list", "read schedules and when they are next"),
    ("schedule.pause", "pause schedules and resume them"),
    ("schedule.run", "run a schedule now: its rule acts under its own role"),
    ("state.apply", "bring states about"),
    ("state.plan", "check what states would change"),
    ("state.show", "read compiled states, secrets masked"),
    ("target.ask", "ask minions whether they are there, for grains and for jobs"),
    ("target.label", "set and remove labels"),
    ("target.maintenance", "leave machines alone for a while: rules and schedules pass them over"),
    ("target.power", "let rules switch machines on and off"),
    ("target.reboot", "start machines anew"),
    ("target.wake", "wake machines over the network"),
    ("token.create", "make users and tokens"),
    ("token.list", "read users, tokens and operators' keys, without secrets"),
    ("token.revoke", "end users and tokens"),
];

/// What `*` does not stand for.
pub const COMMAND: &str = "cmd.run";
/// The role of rules, unless `roles.yaml` says otherwise.
pub const RULE: &str = "rule";
/// The role of rules that restart machines, and tell people when that goes wrong; nothing has it unless `roles.yaml` says so.
pub const REBOOTER: &str = "rebooter";
/// A name that no role has: who has it may nothing.
pub const NONE: &str = "none";

/// Roles that are always there, with what they allow; nothing is denied.
const BUILT_IN: &[(&str, &[&str])] = &[
    ("admin", &["*", "cmd.*"]),
    ("integration", &[]),
    (
        "operator",
        &[
            "audit.*",
            "cmd.*",
            "event.*",
            "hook.*",
            "job.*",
            "key.*",
            "master.*",
            "minion.*",
            "notify.*",
            "pillar.*",
            "role.*",
            "rule.*",
            "schedule.*",
            "state.*",
            "target.*",
            "token.list",
        ],
    ),
    (REBOOTER, &["notify.send", "target.reboot"]),
    (
        RULE,
        &[
            "cmd.*",
            "event.send",
            "http.call",
            "key.accept",
            "key.reject",
            "minion.remove",
            "notify.send",
            "state.*",
            "target.label",
            "target.power",
            "target.wake",
        ],
    ),
    ("viewer", &["event.list", "master.info", "master.status", "minion.list", "rule.list", "schedule.list"]),
];

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Roles {
    pub(crate) named: BTreeMap<String, Role>,
    pub(crate) socket: Socket,
    pub(crate) rules: BTreeMap<String, String>,
    pub(crate) rule: String,
}

/// Roles of users on the master itself, who come over its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Of root and of the user that the master runs as.
    pub root: String,
    /// Of the group `lab`.
    pub lab: String,
    /// Of single users; wins over the group.
    pub users: BTreeMap<String, String>,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    pub(crate) deny: Vec<Line>,
    pub(crate) allow: Vec<Line>,
}

/// One line of a role.
#[derive(Clone, Debug)]
pub struct Line {
    /// `roles.yaml:12`, or that it is built in.
    pub place: String,
    pub(crate) functions: Vec<String>,
    /// None: all machines, and what is about no machine.
    pub(crate) target: Option<Target>,
    /// Patterns over names of states; none: all.
    pub(crate) states: Option<Vec<String>>,
    /// Patterns over keys that `--pillar` sets; none: all if `states` is none, else no key.
    pub(crate) pillar: Option<Vec<String>>,
    /// Patterns over the words of a command, one each; none: any command.
    pub(crate) commands: Option<Vec<Vec<String>>>,
}

/// What somebody wants to do, beside to whom.
#[derive(Clone, Debug, Default)]
pub struct Deed<'a> {
    /// One of [`FUNCTIONS`].
    pub function: &'static str,
    /// Names of states, if it is about states; empty is what top.sls assigns.
    pub states: Option<&'a [String]>,
    /// Keys of the pillar that are set for this run.
    pub pillar: Vec<&'a str>,
    /// An environment of trees other than the usual one is wanted.
    pub environment: bool,
    /// The command.
    pub command: Option<Command<'a>>,
}

/// A command as it would run.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Program and arguments.
    pub words: &'a [String],
    /// A shell reads it, or it has a user, a folder or an environment of its own.
    pub special: bool,
}

/// To whom something is done.
#[derive(Clone, Copy)]
pub enum Whom<'a> {
    /// It is about no machine.
    Nobody,
    /// It is about all machines at once.
    Everybody,
    /// One machine of its target.
    One(&'a dyn Candidate),
}

/// What a role says to something.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// By this line; one of several if more were needed.
    Allowed(&'a Line),
    /// By this line, whatever else allows it.
    Denied(&'a Line),
    /// No line allows it.
    NoLine,
}

impl Verdict<'_> {
    /// Whether it may be done.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl Default for Roles {
    fn default() -> Self {
        let line = |functions: &[&str]| Line {
            place: "built in".to_owned(),
            functions: functions.iter().map(|it| (*it).to_owned()).collect(),
            target: None,
            states: None,
            pillar: None,
            commands: None,
        };
        let role = |functions: &[&str]| Role { deny: Vec::new(), allow: vec![line(functions)] };
        Self {
            named: BUILT_IN.iter().map(|(name, may)| ((*name).to_owned(), role(may))).collect(),
            socket: Socket { root: "admin".to_owned(), lab: "admin".to_owned(), users: BTreeMap::new() },
            rules: BTreeMap::new(),
            rule: RULE.to_owned(),
        }
    }
}

impl Roles {
    /// Reads the text of `roles.yaml`: one mistake gives no roles and all complaints.
    pub fn parse(file: &str, text: &str) -> Compiled<Self> {
        role_files::parse(file, text)
    }
    /// A role by name.
    pub fn get(&self, name: &str) -> Option<&Role> {
        self.named.get(name)
    }
    /// Names of all roles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }
    /// Roles of local users.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
    /// The role that a rule of the reactor runs with.
    pub fn of_rule(&self, rule: &str) -> &str {
        self.rules.get(rule).unwrap_or(&self.rule)
    }
    /// Whether a role of this name is built in and cannot be written anew.
    pub(crate) fn is_built_in(name: &str) -> bool {
        name == NONE || BUILT_IN.iter().any(|(it, _)| *it == name)
    }
}

impl Role {
    /// Whether it may be done to one machine, or to none or all: then only lines for all machines allow it.
    pub fn judge(&self, deed: &Deed<'_>, whom: Whom<'_>) -> Verdict<'_> {
        if !model::broken::leaves_out("deny-before-allow")
            && let Some(line) = self.deny.iter().find(|it| it.denies(deed, whom))
        {
            return Verdict::Denied(line);
        }
        // Each state by itself: several lines may allow several of them.
        let units: Vec<Option<&str>> = match deed.states {
            None | Some([]) => vec![None],
            Some(names) => names.iter().map(|it| Some(it.as_str())).collect(),
        };
        let mut by = None;
        for state in units {
            match self.allow.iter().find(|it| it.allows(deed, state, whom)) {
                Some(line) => by = Some(line),
                None => return Verdict::NoLine,
            }
        }
        by.map_or(Verdict::NoLine, Verdict::Allowed)
    }
    /// Whether it is allowed on some machine, as far as that can be told without looking at any.
    pub fn allows_somewhere(&self, deed: &Deed<'_>) -> bool {
        let units: Vec<Option<&str>> = match deed.states {
            None | Some([]) => vec![None],
            Some(names) => names.iter().map(|it| Some(it.as_str())).collect(),
        };
        let allowed = |state| self.allow.iter().any(|it| it.allows_of_it(deed, state));
        !self.deny.iter().any(|it| it.denies(deed, Whom::Nobody)) && units.into_iter().all(allowed)
    }
    /// Whether some line allows it on all machines: then it also may learn that a target matches none.
    pub fn allows_all(&self, deed: &Deed<'_>) -> bool {
        self.judge(deed, Whom::Nobody).is_allowed()
    }
    /// Whether no line of this function looks at machines: then one verdict is good for all of them.
    pub fn is_same_for_all(&self, deed: &Deed<'_>) -> bool {
        let of_it =
            |it: &&Line| it.is_about(deed.function, Side::Deny) || it.is_about(deed.function, Side::Allow);
        let mut lines = self.deny.iter().chain(&self.allow).filter(of_it);
        lines.all(|it| it.target.is_none())
    }
}

/// Which list a line stands in: what is denied by `*` includes commands, what is allowed by it does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Deny,
    Allow,
}

impl Line {
    fn is_about(&self, function: &str, side: Side) -> bool {
        self.functions.iter().any(|pattern| {
            let whole = pattern == "*" && (side == Side::Deny || function != COMMAND);
            let group = pattern.strip_suffix(".*").is_some_and(|it| function.split('.').next() == Some(it));
            whole || group || pattern == function
        })
    }

    fn denies(&self, deed: &Deed<'_>, whom: Whom<'_>) -> bool {
        let here = match (&self.target, whom) {
            // Those of this line are among everybody.
            (None, _) | (Some(_), Whom::Everybody) => true,
            (Some(target), Whom::One(machine)) => target.matches(machine),
            (Some(_), Whom::Nobody) => false,
        };
        let states = match (&self.states, deed.states) {
            // What top.sls assigns may have any of them.
            (None, _) | (Some(_), Some([])) => true,
            (Some(_), None) => false,
            (Some(patterns), Some(names)) => names.iter().any(|it| matches_any(patterns, it)),
        };
        let command = match (&self.commands, &deed.command) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(patterns), Some(it)) => {
                it.special || patterns.iter().any(|words| same_words(words, it.words))
            }
        };
        self.is_about(deed.function, Side::Deny) && here && states && command
    }

    fn allows(&self, deed: &Deed<'_>, state: Option<&str>, whom: Whom<'_>) -> bool {
        let here = match (&self.target, whom) {
            (None, _) => true,
            (Some(target), Whom::One(machine)) => target.matches(machine),
            (Some(_), Whom::Everybody | Whom::Nobody) => false,
        };
        here && self.allows_of_it(deed, state)
    }

    /// The same on a machine that this line is for.
    fn allows_of_it(&self, deed: &Deed<'_>, state: Option<&str>) -> bool {
        let states = match (&self.states, deed.states, state) {
            // It limits what is about states, and nothing else.
            (None, ..) | (Some(_), None, _) => true,
            (Some(patterns), Some(_), Some(state)) => matches_any(patterns, state),
            // What top.sls assigns is more than any list of names.
            (Some(_), Some(_), None) => false,
        };
        let pillar = match (&self.pillar, &self.states) {
            (Some(patterns), _) => deed.pillar.iter().all(|it| matches_any(patterns, it)),
            (None, None) => true,
            (None, Some(_)) => deed.pillar.is_empty(),
        };
        let environment = self.states.is_none() || !deed.environment;
        let command = match (&self.commands, &deed.command) {
            (None, _) | (Some(_), None) => true,
            (Some(patterns), Some(it)) => {
                !it.special && patterns.iter().any(|words| same_words(words, it.words))
            }
        };
        self.is_about(deed.function, Side::Allow) && states && pillar && environment && command
    }
}

fn matches_any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|it| glob::matches(it, text))
}

/// Word by word: a pattern never reaches over the end of a word. `...` at the end stands for any further words.
fn same_words(patterns: &[String], words: &[String]) -> bool {
    if model::broken::leaves_out("words-of-a-command-one-by-one") {
        return glob::matches(&patterns.join(" "), &words.join(" "));
    }
    let (patterns, open) = match patterns.split_last() {
        Some((last, before)) if last == "..." => (before, true),
        _ => (patterns, false),
    };
    let enough = if open { words.len() >= patterns.len() } else { words.len() == patterns.len() };
    enough && patterns.iter().zip(words).all(|(pattern, word)| glob::matches(pattern, word))
}

#[cfg(test)]
mod tests;
