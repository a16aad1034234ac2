//! `cron.present`, `cron.absent`: one job.

use super::{
    USER, compare,
    crontab::{Crontab, Job, MARKER},
    one_line, read, user_of, write,
};
use crate::{
    Applied, Doc, Error, Examples, Function, Host, Param, ParamsError, Probe, Resource,
    args::{Args, invalid},
    diff::hash_of,
    text_file::read_text,
};
use model::Plan;
use serde_json::{Map, Value};
use std::path::Path;

/// Gives each machine times of its own where they are `random`.
const MACHINE_ID: &str = "/etc/machine-id";

pub(super) const PRESENT: Function = Function {
    name: "present",
    doc: Doc::new(
        "A job is in a user's crontab. It is found again by its identifier, which stands in a comment before it; a line \
          with the same command and without one is taken over if it stands below Salt's line; above it such lines are the \
          user's own and stay. Within the command a `%` means a new line to cron, unless \
          it is written `\\%`. A field that is `random` is chosen once, from the machine's id, and then stays.",
    ),
    params: PARAMS,
    examples: Examples::new(&[
        "/usr/local/bin/backup:\n  cron.present:\n    - user: root\n    - minute: 30\n    - hour: 3\n    - identifier: \
         backup\n    - comment: nightly backup\n",
        "/usr/local/bin/hello:\n  cron.present:\n    - special: '@reboot'\n",
        "/usr/local/bin/report:\n  cron.present:\n    - minute: random\n    - hour: 4\n    - dayweek: 1-5\n    - commented: true\n",
    ]),
    parse,
};

pub(super) const ABSENT: Function = Function {
    name: "absent",
    doc: Doc::new(
        "A job is not in a user's crontab: the one with this identifier, or below Salt's line one without any that has this \
          command. What the user wrote above that line stays.",
    ),
    params: ABSENT_PARAMS,
    examples: Examples::new(&["old backup:\n  cron.absent:\n    - identifier: backup\n    - user: root\n"]),
    parse: parse_absent,
};

const NAME: Param = Param::text("name", "", "The command.");
const IDENTIFIER: Param =
    Param::text("identifier", "the command", "Names the job, so that its command can be altered later.");

const PARAMS: &[Param] = &[
    NAME,
    USER,
    Param::text("minute", "*", "Minutes; also `random`, and `10:20` for one in between."),
    Param::text("hour", "*", "Hours; also `random` and `1:5`."),
    Param::text("daymonth", "*", "Days of the month; also `random`."),
    Param::text("month", "*", "Months; also `random`."),
    Param::text("dayweek", "*", "Days of the week; also `random`."),
    Param::text(
        "special",
        "none",
        "Instead of these: `@reboot`, `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`.",
    ),
    IDENTIFIER,
    Param::text("comment", "as it is", "A comment before it."),
    Param::flag("commented", "false", "Switches the job off: its line stays, with `#DISABLED#` in front."),
];

const ABSENT_PARAMS: &[Param] = &[
    NAME,
    USER,
    IDENTIFIER,
    Param::text("special", "any", "Only if it has this instead of five fields, such as `@reboot`."),
];

const FIELDS: [&str; 5] = ["minute", "hour", "daymonth", "month", "dayweek"];
/// First and last value of each.
const RANGES: [(u64, u64); 5] = [(0, 59), (0, 23), (1, 28), (1, 12), (0, 6)];

#[derive(Debug)]
enum When {
    Special(String),
    Fields(Vec<Field>),
}

#[derive(Debug)]
enum Field {
    Text(String),
    Between(u64, u64),
}

#[derive(Debug)]
struct Present {
    user: String,
    command: String,
    when: When,
    identifier: String,
    comment: Option<String>,
    disabled: bool,
}

#[derive(Debug)]
struct Absent {
    user: String,
    command: String,
    identifier: String,
    special: Option<String>,
}

/// The command and the identifier, which is the command if none is given.
fn known_by(args: &Args<'_>) -> Result<(String, String), ParamsError> {
    let command = args.name().trim().to_owned();
    one_line("name", &command)?;
    let given = args.text("identifier").filter(|it| !matches!(it.as_str(), "" | "false" | "False"));
    let identifier = given.unwrap_or_else(|| command.clone()).trim().to_owned();
    one_line("identifier", &identifier)?;
    Ok((command, identifier))
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("cron.present", PARAMS, params)?;
    let (command, identifier) = known_by(&args)?;
    let comment = args.text("comment").map(|it| it.trim_end().to_owned()).filter(|it| !it.is_empty());
    if comment.as_ref().is_some_and(|it| it.contains(MARKER) || it.contains(['\r', '\0'])) {
        return Err(invalid("comment", format!("`comment` must be text without {MARKER}")));
    }
    // As it will be read again: without what stands in front of each line's text.
    let comment = comment
        .map(|it| it.lines().map(|it| it.trim_start_matches(['#', ' '])).collect::<Vec<_>>().join("\n"));
    let disabled = args.bool("commented", false);
    Ok(Box::new(Present {
        user: user_of(&args)?,
        command,
        when: when(&args)?,
        identifier,
        comment,
        disabled,
    }))
}

fn parse_absent(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("cron.absent", ABSENT_PARAMS, params)?;
    let (command, identifier) = known_by(&args)?;
    Ok(Box::new(Absent { user: user_of(&args)?, command, identifier, special: args.text("special") }))
}

fn when(args: &Args<'_>) -> Result<When, ParamsError> {
    const SPECIAL: [&str; 8] =
        ["@reboot", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
    if let Some(special) = args.text("special") {
        if let Some(field) = FIELDS.into_iter().find(|it| args.text(it).is_some_and(|it| it != "*")) {
            return Err(invalid(field, format!("give `special` or `{field}`, not both")));
        }
        if !SPECIAL.contains(&special.as_str()) {
            return Err(invalid("special", format!("`{special}` is none of {}", SPECIAL.join(", "))));
        }
        return Ok(When::Special(special));
    }
    FIELDS
        .into_iter()
        .zip(RANGES)
        .map(|(field, range)| part(args, field, range))
        .collect::<Result<_, _>>()
        .map(When::Fields)
}

fn part(args: &Args<'_>, field: &str, range: (u64, u64)) -> Result<Field, ParamsError> {
    let text = args.text(field).unwrap_or_else(|| "*".to_owned()).to_lowercase();
    if text == "random" {
        return Ok(Field::Between(range.0, range.1));
    }
    if let Some((first, last)) = text.split_once(':') {
        let inside = |it: &u64| (range.0..=range.1).contains(it);
        let number = |it: &str| it.trim().parse::<u64>().ok().filter(inside);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(invalid(field, format!("`{text}` is no range of {field}s")));
        };
        return Ok(Field::Between(first.min(last), first.max(last)));
    }
    let good = |it: char| it.is_ascii_alphanumeric() || "*,-/".contains(it);
    if text.is_empty() || !text.chars().all(good) {
        let text =
            format!("`{text}` is no {field} of a crontab: use numbers, `*`, `,`, `-`, `/`, or `random`");
        return Err(invalid(field, text));
    }
    Ok(Field::Text(text))
}

/// A number in this range that is the same each time on one machine.
fn chosen(seed: &str, first: u64, last: u64) -> u64 {
    let hash = hash_of(seed.as_bytes()).0;
    let number = hash.iter().take(8).fold(0, |sum: u64, it| (sum << 8) | u64::from(*it));
    first + number % (last - first + 1)
}

impl Present {
    /// The five fields; what was chosen once stays as it is.
    fn schedule(&self, machine: &str, old: Option<&Job>) -> String {
        let fields = match &self.when {
            When::Special(special) => return special.clone(),
            When::Fields(fields) => fields,
        };
        let before: Vec<&str> = old.map(|it| it.when.split(' ').collect()).unwrap_or_default();
        let text = |(index, field): (usize, &Field)| match (field, before.get(index)) {
            (Field::Text(text), _) => text.clone(),
            (Field::Between(first, last), Some(before))
                if before.parse().is_ok_and(|it| (*first..=*last).contains(&it)) =>
            {
                (*before).to_owned()
            }
            (Field::Between(first, last), _) => {
                chosen(&format!("{machine}{}{index}", self.identifier), *first, *last).to_string()
            }
        };
        fields.iter().enumerate().map(text).collect::<Vec<_>>().join(" ")
    }

    fn is_random(&self) -> bool {
        matches!(&self.when, When::Fields(fields) if fields.iter().any(|it| matches!(it, Field::Between(..))))
    }

    fn wanted(&self, now: &str, host: &dyn Probe) -> Result<String, Error> {
        let machine = if self.is_random() { read_text(host, Path::new(MACHINE_ID))? } else { None };
        let machine = machine.unwrap_or_default();
        Ok(self.put(now, &machine))
    }

    fn put(&self, now: &str, machine: &str) -> String {
        let mut crontab = Crontab::parse(now);
        let old = crontab.find(&self.identifier, &self.command);
        let job = Job {
            comment: self.comment.clone().or_else(|| old.and_then(|it| it.comment.clone())),
            identifier: Some(self.identifier.clone()),
            disabled: self.disabled,
            when: self.schedule(machine, old),
            command: self.command.clone(),
        };
        if crontab.has(&job) {
            return now.to_owned();
        }
        crontab.remove(&self.identifier, &self.command);
        crontab.add(job);
        crontab.print()
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read(host, &self.user)?;
        Ok(compare(&now, &self.wanted(&now, host)?))
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wanted = self.wanted(&read(host, &self.user)?, host)?;
        write(host, &self.user, wanted)
    }
}

impl Absent {
    fn wanted(&self, now: &str) -> String {
        let mut crontab = Crontab::parse(now);
        let found = crontab.find(&self.identifier, &self.command);
        let meant = |it: &Job| self.special.as_ref().is_none_or(|special| *special == it.when);
        if !found.is_some_and(meant) {
            return now.to_owned();
        }
        crontab.remove(&self.identifier, &self.command);
        crontab.print()
    }
}

impl Resource for Absent {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = read(host, &self.user)?;
        Ok(compare(&now, &self.wanted(&now)))
    }
    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let wanted = self.wanted(&read(host, &self.user)?);
        write(host, &self.user, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_found_by_its_identifier_or_its_command_and_stands_below_the_tag() {
        let job = Present {
            user: "root".into(),
            command: "new".into(),
            when: When::Special("@daily".into()),
            identifier: "id".into(),
            comment: None,
            disabled: false,
        };
        let tag = super::super::crontab::TAG;
        let end = format!("{tag}\n# SALT_CRON_IDENTIFIER:id\n@daily new\n");
        assert_eq!(
            job.put("A=1\n# SALT_CRON_IDENTIFIER:id\n0 0 * * * old\n# end\n", ""),
            format!("A=1\n# end\n{end}")
        );
        assert_eq!(job.put("0 1 * * *  new\n", ""), format!("0 1 * * *  new\n{end}"), "the user's own stays");
        assert_eq!(job.put("x", ""), format!("x\n{end}"));
        let other = format!("{tag}\n@reboot x\n# hello\n1 1 * * * new\n");
        assert_eq!(
            job.put(&other, ""),
            format!("{tag}\n@reboot x\n# hello SALT_CRON_IDENTIFIER:id\n@daily new\n")
        );
    }

    #[test]
    fn what_is_random_is_chosen_once() {
        let job = Present {
            user: "root".into(),
            command: "x".into(),
            when: When::Fields(vec![
                Field::Between(0, 59),
                Field::Text("4".into()),
                Field::Text("*".into()),
                Field::Text("*".into()),
                Field::Between(1, 5),
            ]),
            identifier: "x".into(),
            comment: None,
            disabled: false,
        };
        let once = job.put("", "machine a");
        assert_eq!(job.put(&once, "machine b"), once);
        assert_ne!(job.put("", "machine b"), once);
    }
}
