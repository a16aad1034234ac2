//! `labctl key`: who may join.

use super::{Desk, unexpected};
use crate::{
    Ended, Outcome, complete,
    failure::{Exit, Failure, did_you_mean},
    show::{self, time},
};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use model::{
    EnrollTerms, Fingerprint, Key, KeyDecision, KeyStatus, Labels, Masked, Replace, Reply, Request, request,
};
use std::{fmt::Write, io::IsTerminal};

#[derive(Debug, Args)]
pub(crate) struct KeyCommand {
    #[command(subcommand)]
    verb: Option<KeyVerb>,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// All keys the master has seen
    #[command(alias = "ls")]
    List {
        /// Only those that wait for a decision
        #[arg(long)]
        pending: bool,
    },
    /// One in full
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Minion id, or the beginning of a fingerprint
        #[arg(add = ArgValueCompleter::new(complete::keys))]
        key: String,
    },
    /// Make machines members
    Accept(Accept),
    /// Say no
    Reject {
        /// Minion ids, or beginnings of fingerprints
        #[arg(required = true, add = ArgValueCompleter::new(complete::keys))]
        keys: Vec<String>,
    },
    /// No longer a member: the connection is closed within a second, for good
    Revoke {
        /// Minion ids, or beginnings of fingerprints
        #[arg(required = true, add = ArgValueCompleter::new(complete::keys))]
        keys: Vec<String>,
    },
    /// Make a token that lets machines join, as a seed on standard output
    Enroll(Enroll),
    /// The tokens that let machines join
    Tokens,
    /// Nobody joins by these tokens any more; who joined stays
    RevokeToken {
        /// Names of tokens
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Accept {
    /// Minion ids, or beginnings of fingerprints
    #[arg(required_unless_present = "all", add = ArgValueCompleter::new(complete::keys))]
    keys: Vec<String>,
    /// Only if the key has this fingerprint (labminion fingerprint prints it on the machine)
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<Fingerprint>,
    /// Everyone who is pending now
    #[arg(long, conflicts_with_all = ["keys", "fingerprint"])]
    all: bool,
}

#[derive(Debug, Args)]
struct Enroll {
    /// Which ids may join: a glob
    #[arg(long, value_name = "GLOB", default_value = "*")]
    ids: String,
    /// How many machines
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// For how long: 2h, 30d; at most 90d
    #[arg(long = "for", value_name = "D", default_value = "24h", value_parser = time::parse_duration)]
    for_ms: u64,
    /// A label that they get; may be repeated
    #[arg(short, long = "label", value_name = "K=V", value_delimiter = ',')]
    labels: Vec<String>,
    /// A net that it may be used from; may be repeated
    #[arg(long, value_name = "NET", value_delimiter = ',')]
    cidr: Vec<String>,
    /// Name of the token, for lists
    #[arg(long)]
    name: Option<String>,
    /// When a machine's name is taken by another key
    #[arg(long, value_enum, default_value_t = ReplaceWord::Never)]
    replace: ReplaceWord,
    /// The machines are forgotten by themselves when they stay away
    #[arg(long)]
    ephemeral: bool,
    /// How long they may stay away: 10m, 1h; at most 90d
    #[arg(long, value_name = "D", default_value = "1h", requires = "ephemeral", value_parser = time::parse_duration)]
    retire_after: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReplaceWord {
    /// An operator decides
    Never,
    /// It takes the name if the old one is not connected: for VMs that are made anew
    Offline,
    /// As offline, and only on the same hardware: its uuid, or where there is none its network card
    SameHardware,
}

impl KeyCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(KeyVerb::List { pending: false }) {
            KeyVerb::List { pending } => list(desk, pending),
            KeyVerb::Show { key } => show_one(desk, &key),
            KeyVerb::Accept(accept) => accept.run(desk),
            KeyVerb::Reject { keys } => decide(desk, &keys, None, KeyDecision::Reject),
            KeyVerb::Revoke { keys } => decide(desk, &keys, None, KeyDecision::Revoke),
            KeyVerb::Enroll(enroll) => enroll.run(desk),
            KeyVerb::Tokens => {
                let reply = desk.ask(&Request::Tokens)?;
                let Reply::Tokens(tokens) = reply else { return Err(unexpected(&reply)) };
                let list = show::status::tokens(&tokens, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            KeyVerb::RevokeToken { names } => {
                names
                    .into_iter()
                    .try_for_each(|name| desk.order(&Request::RevokeToken { name }).map(drop))?;
                Ok(Exit::Done)
            }
        }
    }
}

fn keys(desk: &mut Desk<'_>) -> Outcome<Vec<Key>> {
    match desk.ask(&Request::Keys)? {
        Reply::Keys(keys) => Ok(keys),
        other => Err(unexpected(&other)),
    }
}

fn list(desk: &mut Desk<'_>, pending: bool) -> Ended {
    let mut keys = keys(desk)?;
    if pending {
        let waits = [KeyStatus::Pending, KeyStatus::Conflict, KeyStatus::Suspended];
        keys.retain(|it| waits.contains(&it.status));
    }
    let list = show::status::keys(&keys, &desk.screen.style);
    desk.screen.list(list)?;
    Ok(Exit::Done)
}

fn show_one(desk: &mut Desk<'_>, wanted: &str) -> Ended {
    let keys = keys(desk)?;
    let begins = |it: &&Key| {
        let print = it.fingerprint.as_str();
        print.starts_with(wanted) || print.trim_start_matches("SHA256:").starts_with(wanted)
    };
    let found: Vec<&Key> = keys.iter().filter(|it| it.minion.as_str() == wanted || begins(it)).collect();
    let Some(key) = found.first() else {
        return Err(Failure::not_found(format!("there is no key `{wanted}`"))
            .hint("labctl key list shows them")
            .maybe_hint(did_you_mean(wanted, keys.iter().map(|it| it.minion.as_str()))));
    };
    let style = &desk.screen.style;
    let mut text = String::new();
    for key in &found {
        let claims: Vec<String> = key.claims.iter().map(|(key, value)| format!("{key}={value}")).collect();
        for (name, value) in [
            ("Minion", key.minion.to_string()),
            ("Status", show::status::key_status(key.status).to_owned()),
            ("Why", key.reason.clone()),
            ("Fingerprint", key.fingerprint.to_string()),
            ("From", key.address.clone()),
            ("First seen", time::absolute(key.at, style.time)),
            ("Labels", show::minion::labels(&key.labels)),
            ("Claims", claims.join(" ")),
            ("Token", key.token.clone().unwrap_or_else(|| "-".to_owned())),
        ] {
            let _ = writeln!(text, "{name:<13}{value}");
        }
        if found.len() > 1 {
            text.push('\n');
        }
    }
    desk.screen.thing("Key", show::json::of(key), key.minion.as_str(), &text)?;
    Ok(Exit::Done)
}

impl Accept {
    fn run(self, desk: &mut Desk<'_>) -> Ended {
        let mut wanted = self.keys;
        if self.all {
            let pending = keys(desk)?.into_iter().filter(|it| it.status == KeyStatus::Pending);
            wanted = pending.map(|it| it.fingerprint.to_string()).collect();
            if wanted.is_empty() {
                desk.screen.note("nobody is waiting")?;
            }
        }
        if self.fingerprint.is_some() && wanted.len() > 1 {
            return Err(Failure::usage("a fingerprint belongs to one key: accept them one by one"));
        }
        let compared = self.fingerprint.is_some();
        let exit = decide(desk, &wanted, self.fingerprint.as_ref(), KeyDecision::Accept)?;
        if !compared && !wanted.is_empty() && desk.screen.human {
            desk.screen.note("hint: compare the fingerprint on the machine with: labminion fingerprint")?;
        }
        Ok(exit)
    }
}

/// Decides about each; goes on after a refusal, and ends with the first one.
fn decide(
    desk: &mut Desk<'_>,
    keys: &[String],
    fingerprint: Option<&Fingerprint>,
    decision: KeyDecision,
) -> Ended {
    let mut failed = None;
    for key in keys {
        let request = Request::DecideKey { key: key.clone(), fingerprint: fingerprint.cloned(), decision };
        if let Err(failure) = desk.order(&request) {
            if keys.len() == 1 {
                return Err(failure);
            }
            desk.screen.complain(&failure);
            failed = failed.or(Some(failure.exit));
        }
    }
    Ok(failed.unwrap_or(Exit::Done))
}

impl Enroll {
    fn run(self, desk: &mut Desk<'_>) -> Ended {
        let labels = labels(&self.labels)?;
        let replace = match self.replace {
            ReplaceWord::Never => Replace::Never,
            ReplaceWord::Offline => Replace::Offline,
            ReplaceWord::SameHardware => Replace::SameHardware,
        };
        let terms: EnrollTerms = request::EnrollTerms {
            name: self.name,
            ids: self.ids,
            uses: self.uses,
            for_ms: self.for_ms,
            labels,
            cidr: self.cidr,
            replace,
            retire_after_ms: self.ephemeral.then_some(self.retire_after),
        };
        let said = format!("{} uses for ids {}, for {}", terms.uses, terms.ids, time::rough(terms.for_ms));
        let reply = desk.ask(&Request::Enroll { terms })?;
        let Reply::Seed(Masked(seed)) = reply else { return Err(unexpected(&reply)) };
        desk.screen.line(&serde_json::to_string_pretty(&seed).unwrap_or_default())?;
        desk.screen.note(&format!("seed: {said}. It lets machines join: keep it like a password"))?;
        if std::io::stdout().is_terminal() {
            desk.screen.note("hint: write it to a file: labctl key enroll … > seed.json")?;
        }
        Ok(Exit::Done)
    }
}

/// `K=V` pairs as labels.
pub(crate) fn labels(pairs: &[String]) -> Outcome<Labels> {
    let pair = |text: &String| {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("`{text}` is no K=V")))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    pairs.iter().map(pair).collect()
}
