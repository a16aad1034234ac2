//! `--batch`, `--canary`, `--gate` and what else says how a run goes over its machines; shared by apply, run and reboot.

use super::{Desk, minion};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::{self, time},
};
use clap::{Args, ValueEnum};
use model::{Gate, OnStop, Order, Rolling, Share};

/// What `labctl target EXPR apply --help` says of waves.
pub(super) const EXAMPLES: &str = "\
In waves:
  labctl t @web apply --canary 1 --batch 25%          one first, then a quarter at a time; the first failure stops it
  labctl t @web apply --batch 2 --batch-wait 30s --max-fail 2
  labctl t @web apply --batch 2 --gate 'telemetry.cpu < 80' --gate-hold 60s --undo-on-stop
  labctl t @web apply --batch 1 --gate-check 'curl -fsS http://localhost/'
  labctl t @web apply --batch 25% -n                  who would be in which wave; nothing is run
Ctrl-C stops watching; labctl job cancel stops the run.";

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "In waves")]
pub(super) struct Waves {
    /// Machines in a wave, or the part of all; the next wave begins when all of one have ended
    #[arg(long, value_name = "N|P%")]
    batch: Option<Share>,
    /// Wait so long between two waves
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    batch_wait: Option<u64>,
    /// With so many failures no further wave begins [default: 1]
    #[arg(long, value_name = "N|P%")]
    max_fail: Option<Share>,
    /// A first wave of so many, where any failure ends the run
    #[arg(long, value_name = "N|P%")]
    canary: Option<Share>,
    /// Whose turn is first; oldest: whose last apply is the longest ago
    #[arg(long, value_enum)]
    order: Option<Turns>,
    /// Go on behind a wave only when this holds on all its machines: 'telemetry.cpu < 80 and telemetry.mem < 90'
    #[arg(long, value_name = "EXPR")]
    gate: Option<String>,
    /// ... only when this program ends with 0 on all of them; no shell reads it
    #[arg(long, value_name = "CMD")]
    gate_check: Option<String>,
    /// ... only without such an event of them: beacon/service/#
    #[arg(long, value_name = "FILTER")]
    gate_quiet: Option<String>,
    /// ... and it must hold so long without a break
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    gate_hold: Option<u64>,
    /// The gate fails, and the run stops, after so long [default: 5m behind --gate-hold]
    #[arg(long, value_name = "D", value_parser = time::parse_duration)]
    gate_timeout: Option<u64>,
    /// When the run stops by itself, put back what it changed: by a job of its own
    #[arg(long)]
    undo_on_stop: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Turns {
    Name,
    Random,
    Oldest,
}

impl Waves {
    /// How the run is to go; none if it is to go everywhere at once.
    pub(super) fn rolling(&self) -> Outcome<Option<Rolling>> {
        let gate = self.asked_gate()?;
        let many = self.batch.is_some() || self.canary.is_some() || gate.is_some();
        let lone = [
            (self.batch_wait.is_some(), "--batch-wait"),
            (self.max_fail.is_some(), "--max-fail"),
            (self.order.is_some(), "--order"),
            (self.undo_on_stop, "--undo-on-stop"),
        ];
        if let Some((_, word)) = lone.iter().find(|it| it.0 && !many) {
            return Err(Failure::usage(format!("{word} goes with --batch, --canary or --gate")));
        }
        let plain = Rolling::default();
        let rolling = Rolling {
            batch: self.batch.unwrap_or(plain.batch),
            batch_wait_ms: self.batch_wait.unwrap_or(0),
            max_fail: self.max_fail.unwrap_or(plain.max_fail),
            order: match self.order {
                None | Some(Turns::Name) => Order::Name,
                Some(Turns::Random) => Order::Random,
                Some(Turns::Oldest) => Order::Oldest,
            },
            canary: self.canary,
            gate,
            on_stop: if self.undo_on_stop { OnStop::Undo } else { OnStop::Stop },
        };
        Ok(many.then_some(rolling))
    }

    fn asked_gate(&self) -> Outcome<Option<Gate>> {
        let gate = Gate {
            when: self.gate.clone(),
            quiet: self.gate_quiet.clone(),
            check: self.gate_check.as_deref().map(words).transpose()?.unwrap_or_default(),
            hold_ms: self.gate_hold.unwrap_or(0),
            timeout_ms: self.gate_timeout,
        };
        Ok((gate != Gate::default()).then_some(gate))
    }
}

/// Words as a shell would take them apart: quotes and backslashes, and nothing else of a shell.
fn words(text: &str) -> Outcome<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(end), _) if letter == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(Failure::usage(format!("--gate-check: a quote of `{text}` does not end")));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err(Failure::usage("--gate-check: there is no program"));
    }
    Ok(words)
}

/// Who would be in which wave; nothing is run.
pub(super) fn show(desk: &mut Desk<'_>, target: &str, rolling: &Rolling) -> Ended {
    let found = minion::expand(desk, target)?;
    let machines: Vec<_> =
        found.minions.iter().map(|it| (it.id.clone(), it.last_apply.as_ref().map(|last| last.at))).collect();
    if let Err((message, complaint)) = lang::rolling::check(rolling, machines.len()) {
        let mut failure = Failure::usage(message);
        if let Some(complaint) = complaint {
            let drawn = lang::render_diagnostics(&[*complaint], desk.screen.err_style.diagnostics());
            failure.message = format!("{}\n{}", failure.message, drawn.trim_end());
        }
        return Err(failure);
    }
    let turns = lang::rolling::in_order(rolling, 0, machines);
    desk.screen.list(show::waves::planned(rolling, &turns))?;
    if rolling.order == Order::Random {
        desk.screen.note("the dice fall anew when it is run: only how many are in a wave is sure")?;
    }
    desk.screen.note("nothing was run")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checks_words_are_taken_apart_as_by_a_shell_that_does_nothing_else() {
        let of = |text: &str| words(text).map_err(|it| it.message);
        assert_eq!(of("curl -f http://localhost/").unwrap(), ["curl", "-f", "http://localhost/"]);
        assert_eq!(
            of(r#"test -f '/srv/a b' "c \" d" e\ f ''"#).unwrap(),
            ["test", "-f", "/srv/a b", "c \" d", "e f", ""]
        );
        assert_eq!(of("echo $HOME;ls|x").unwrap(), ["echo", "$HOME;ls|x"]);
        assert!(of("echo 'a").is_err() && of("  ").is_err() && of("''").is_err());
    }

    #[test]
    fn what_is_said_alone_about_waves_is_refused() {
        assert_eq!(Waves::default().rolling().unwrap(), None);
        let alone = Waves { max_fail: Some(Share::Count(1)), ..Waves::default() };
        assert!(alone.rolling().unwrap_err().message.contains("--max-fail goes with"));
        let gate = Waves { gate_hold: Some(5_000), undo_on_stop: true, ..Waves::default() };
        let rolling = gate.rolling().unwrap().unwrap();
        assert_eq!((rolling.batch, rolling.on_stop), (Share::ALL, OnStop::Undo));
    }
}
