//! `cron`: jobs in users' crontabs.

use super::group::account_name;
use crate::{
    Applied, Error, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    diff::contents_change,
    host::Action,
};
use model::Plan;
use serde_json::{Map, Value};

/// Stands in front of a job, as Salt writes it: a tree that comes from Salt finds its jobs again.
const MARKER: &str = "SALT_CRON_IDENTIFIER:";

pub(crate) const MODULE: Module = Module {
    name: "cron",
    doc: "Jobs in users' crontabs.",
    functions: &[Function {
        name: "present",
        doc: "A job is in a user's crontab. It is found again by its identifier, which stands in a comment before it; \
              a line with the same command and without one is taken over. All other lines stay as they are. Within \
              the command a `%` means a new line to cron, unless it is written `\\%`.",
        params: PARAMS,
        examples: &[
            "/usr/local/bin/backup:\n  cron.present:\n    - user: root\n    - minute: 30\n    - hour: 3\n    - identifier: \
             backup\n    - comment: nightly backup\n",
            "/usr/local/bin/hello:\n  cron.present:\n    - special: '@reboot'\n",
        ],
        parse,
    }],
};

const PARAMS: &[Param] = &[
    Param { name: "name", kind: ParamType::Text, required: false, default: "", doc: "The command." },
    Param { name: "user", kind: ParamType::Text, required: false, default: "root", doc: "Whose crontab." },
    Param { name: "minute", kind: ParamType::Text, required: false, default: "*", doc: "Minutes." },
    Param { name: "hour", kind: ParamType::Text, required: false, default: "*", doc: "Hours." },
    Param {
        name: "daymonth",
        kind: ParamType::Text,
        required: false,
        default: "*",
        doc: "Days of the month.",
    },
    Param { name: "month", kind: ParamType::Text, required: false, default: "*", doc: "Months." },
    Param { name: "dayweek", kind: ParamType::Text, required: false, default: "*", doc: "Days of the week." },
    Param {
        name: "special",
        kind: ParamType::Text,
        required: false,
        default: "none",
        doc: "Instead of these: `@reboot`, `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`.",
    },
    Param {
        name: "identifier",
        kind: ParamType::Text,
        required: false,
        default: "the command",
        doc: "Names the job, so that its command can be altered later.",
    },
    Param {
        name: "comment",
        kind: ParamType::Text,
        required: false,
        default: "none",
        doc: "A comment before it.",
    },
];

#[derive(Debug)]
struct Present {
    user: String,
    command: String,
    schedule: String,
    identifier: String,
    comment: Option<String>,
}

fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("cron.present", PARAMS, params)?;
    let user = args.text("user").unwrap_or_else(|| "root".to_owned());
    account_name("user", &user)?;
    let command = args.name().trim().to_owned();
    let identifier = args.text("identifier").unwrap_or_else(|| command.clone());
    let comment = args.text("comment");
    for (param, text) in
        [("name", Some(&command)), ("identifier", Some(&identifier)), ("comment", comment.as_ref())]
    {
        if text.is_some_and(|it| it.trim().is_empty() || it.contains(['\n', '\r', '\0'])) {
            return Err(invalid(param, format!("`{param}` must be one line")));
        }
    }
    if comment.as_ref().is_some_and(|it| it.contains(MARKER)) {
        return Err(invalid("comment", format!("`comment` must not contain {MARKER}")));
    }
    let identifier = identifier.trim().to_owned();
    Ok(Box::new(Present { user, command, schedule: schedule(&args)?, identifier, comment }))
}

fn schedule(args: &Args<'_>) -> Result<String, ParamsError> {
    const SPECIAL: [&str; 8] =
        ["@reboot", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
    const FIELDS: [&str; 5] = ["minute", "hour", "daymonth", "month", "dayweek"];
    if let Some(special) = args.text("special") {
        if let Some(field) = FIELDS.into_iter().find(|it| args.has(it)) {
            return Err(invalid(field, format!("give `special` or `{field}`, not both")));
        }
        if !SPECIAL.contains(&special.as_str()) {
            return Err(invalid("special", format!("`{special}` is none of {}", SPECIAL.join(", "))));
        }
        return Ok(special);
    }
    let mut schedule = Vec::new();
    for field in FIELDS {
        let text = args.text(field).unwrap_or_else(|| "*".to_owned());
        let good = |it: char| it.is_ascii_alphanumeric() || "*,-/".contains(it);
        if text.is_empty() || !text.chars().all(good) || text == "random" {
            return Err(invalid(
                field,
                format!("`{text}` is no {field} of a crontab: use numbers, `*`, `,`, `-`, `/`"),
            ));
        }
        schedule.push(text);
    }
    Ok(schedule.join(" "))
}

/// A crontab, line by line. Printing what was parsed gives the same text.
#[derive(Clone, Debug, PartialEq)]
struct Crontab {
    lines: Vec<String>,
}

impl Crontab {
    fn parse(text: &str) -> Self {
        Self { lines: text.split('\n').map(str::to_owned).collect() }
    }
    fn print(&self) -> String {
        self.lines.join("\n")
    }

    /// Puts a job in the place of the one with its identifier, or of an unmarked one with its command, or at the end.
    fn put(&mut self, marker: String, identifier: &str, schedule: &str, command: &str) {
        let job = format!("{schedule} {command}");
        if let Some(at) = self.lines.iter().position(|it| marked(it) == Some(identifier)) {
            self.lines[at] = marker;
            match self.lines.get(at + 1) {
                Some(line) if is_job(line) => self.lines[at + 1] = job,
                _ => self.lines.insert(at + 1, job),
            }
            return;
        }
        let unmarked = |at: &usize| {
            let before = at.checked_sub(1).and_then(|it| marked(&self.lines[it]));
            is_job(&self.lines[*at]) && command_of(&self.lines[*at]) == Some(command) && before.is_none()
        };
        if let Some(at) = (0..self.lines.len()).find(unmarked) {
            self.lines.splice(at..=at, [marker, job]);
            return;
        }
        // Behind the last line, which need not have ended.
        if self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines.extend([marker, job, String::new()]);
    }
}

/// The identifier in a marker line.
fn marked(line: &str) -> Option<&str> {
    let comment = line.strip_prefix('#')?;
    comment.find(MARKER).map(|at| comment[at + MARKER.len()..].trim())
}

/// Neither empty, nor a comment, nor a variable.
fn is_job(line: &str) -> bool {
    let line = line.trim_start();
    let first = line.chars().next().unwrap_or('#');
    first == '*' || first == '@' || first.is_ascii_digit()
}

/// What is behind the five fields, or the one with an `@`.
fn command_of(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    let fields = if rest.starts_with('@') { 1 } else { 5 };
    for _ in 0..fields {
        rest = rest.split_once([' ', '\t'])?.1.trim_start();
    }
    Some(rest.trim_end())
}

impl Present {
    fn wanted(&self, now: &str) -> String {
        let comment = self.comment.as_ref().map(|it| format!("{} ", it.trim())).unwrap_or_default();
        let marker = format!("# {comment}{MARKER}{}", self.identifier);
        let mut crontab = Crontab::parse(now);
        crontab.put(marker, &self.identifier, &self.schedule, &self.command);
        crontab.print()
    }
    fn now(&self, host: &dyn Probe) -> Result<String, Error> {
        host.crontab(&self.user).map_err(Error::host("read crontab of", &self.user))
    }
}

impl Resource for Present {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let now = self.now(host)?;
        let wanted = self.wanted(&now);
        let mut plan = Plan::default();
        if now != wanted {
            let old = Some(now.as_bytes()).filter(|it| !it.is_empty());
            plan.push(contents_change("crontab", old, wanted.as_bytes()));
        }
        Ok(plan)
    }

    fn apply(&self, _: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        let text = self.wanted(&self.now(host)?);
        let done = host
            .perform(&Action::Crontab { user: self.user.clone(), text })
            .map_err(Error::host("write crontab of", &self.user))?;
        done.success(&format!("write crontab of {}", self.user)).map(|_| Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same in each run.
    fn numbers(seed: u64) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(seed), |it| {
            Some(it.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
        })
        .map(|it| usize::try_from(it >> 40).unwrap())
    }

    const PIECES: [&str; 12] = [
        "\n",
        "\n\n",
        "# a comment",
        "MAILTO=root",
        "5 4 * * * /bin/true",
        "\t*/5 * * * 1-5  echo 'a  b'",
        "@daily x",
        "# x SALT_CRON_IDENTIFIER:x",
        " ",
        "é%",
        "\r",
        "#",
    ];

    #[test]
    fn printing_what_was_parsed_gives_the_same_text() {
        for seed in 0..500 {
            let mut random = numbers(seed);
            let count = random.next().unwrap() % 12;
            let text: String = random.take(count).map(|it| PIECES[it % PIECES.len()]).collect();
            assert_eq!(Crontab::parse(&text).print(), text);
        }
    }

    #[test]
    fn putting_a_job_twice_is_putting_it_once_and_other_lines_stay() {
        let job = Present {
            user: "root".into(),
            command: "/bin/job".into(),
            schedule: "1 2 * * *".into(),
            identifier: "mine".into(),
            comment: Some("hello".into()),
        };
        for seed in 0..500 {
            let mut random = numbers(seed);
            let count = random.next().unwrap() % 12;
            let text: String = random.take(count).map(|it| PIECES[it % PIECES.len()]).collect();
            let once = job.wanted(&text);
            assert_eq!(job.wanted(&once), once, "{text:?}");
            let kept = |text: &str| -> Vec<String> {
                text.lines()
                    .filter(|it| !it.is_empty() && !it.contains("/bin/job") && !it.contains(":mine"))
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(kept(&once), kept(&text), "{text:?}");
            assert!(once.contains("# hello SALT_CRON_IDENTIFIER:mine\n1 2 * * * /bin/job\n"));
        }
    }

    #[test]
    fn a_job_is_found_by_its_identifier_or_its_command() {
        let job = Present {
            user: "root".into(),
            command: "new".into(),
            schedule: "@daily".into(),
            identifier: "id".into(),
            comment: None,
        };
        let before = "A=1\n# SALT_CRON_IDENTIFIER:id\n0 0 * * * old\n# end\n";
        assert_eq!(job.wanted(before), "A=1\n# SALT_CRON_IDENTIFIER:id\n@daily new\n# end\n");
        assert_eq!(job.wanted("0 1 * * *  new\n"), "# SALT_CRON_IDENTIFIER:id\n@daily new\n");
        assert_eq!(job.wanted("x"), "x\n# SALT_CRON_IDENTIFIER:id\n@daily new\n");
    }
}
