//! The text of a crontab: what stands above Salt's line is the user's, what stands below it is ours.

/// Stands between the user's lines and ours, as Salt writes it: a crontab that Salt wrote goes on here, and back.
pub(super) const TAG: &str = "# Lines below here are managed by Salt, do not edit";
/// Names a job in the comment in front of it.
pub(super) const MARKER: &str = "SALT_CRON_IDENTIFIER:";
/// In front of a job that is switched off.
const DISABLED: &str = "#DISABLED#";

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) comment: Option<String>,
    pub(super) identifier: Option<String>,
    pub(super) disabled: bool,
    /// Five fields, or one with an `@`.
    pub(super) when: String,
    pub(super) command: String,
}

/// A line or a few that belong together.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Line(String),
    Variable { name: String, value: String },
    Job { job: Job, lines: Vec<String> },
}

/// A crontab. Printing what was parsed gives the same text, with the tag in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Crontab {
    above: Vec<Item>,
    below: Vec<Item>,
}

impl Job {
    fn is_special(&self) -> bool {
        self.when.starts_with('@')
    }
    /// Whether it is the one with this identifier; one without any is known by its command.
    pub(super) fn is(&self, identifier: &str, command: &str) -> bool {
        match &self.identifier {
            Some(it) => it == identifier,
            None => self.command == command,
        }
    }
    /// Whether the comment before it holds this identifier.
    fn is_marked(&self, identifier: &str) -> bool {
        self.identifier.as_deref() == Some(identifier)
    }
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.comment.is_some() || self.identifier.is_some() {
            let mut text = "#".to_owned();
            if let Some(comment) = self.comment.as_deref().filter(|it| !it.is_empty()) {
                text = format!("# {}", comment.replace('\n', "\n# "));
            }
            if let Some(identifier) = &self.identifier {
                text = format!("{text} {MARKER}{identifier}");
            }
            lines.extend(text.lines().map(str::to_owned));
        }
        let disabled = if self.disabled { DISABLED } else { "" };
        lines.push(format!("{disabled}{} {}", self.when, self.command));
        lines
    }
}

impl Crontab {
    pub(super) fn parse(text: &str) -> Self {
        let mut lines: Vec<&str> = text.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let tag = lines.iter().position(|it| *it == TAG);
        let (above, below) = match tag {
            Some(at) => (&lines[..at], &lines[at + 1..]),
            None => (&lines[..], &[][..]),
        };
        Self { above: items(above, false), below: items(below, true) }
    }

    pub(super) fn print(&self) -> String {
        let lines = self.above.iter().flat_map(Item::print);
        let lines = lines.chain([TAG.to_owned()]).chain(self.below.iter().flat_map(Item::print));
        lines.map(|it| it + "\n").collect()
    }

    /// The job: below the tag, or above it if it is marked; what is not marked there is the user's.
    pub(super) fn find(&self, identifier: &str, command: &str) -> Option<&Job> {
        let below = self.below.iter().filter_map(Item::job).find(|it| it.is(identifier, command));
        below.or_else(|| self.above.iter().filter_map(Item::job).find(|it| it.is_marked(identifier)))
    }

    /// Takes the job out, where `find` finds it.
    pub(super) fn remove(&mut self, identifier: &str, command: &str) {
        self.below.retain(|it| it.job().is_none_or(|it| !it.is(identifier, command)));
        self.above.retain(|it| it.job().is_none_or(|it| !it.is_marked(identifier)));
    }

    /// Whether the job stands below the tag just so, and nowhere else where it would be found.
    pub(super) fn has(&self, job: &Job) -> bool {
        let identifier = job.identifier.as_deref().unwrap_or_default();
        let is = |it: &&Item| it.job().is_some_and(|it| it.is(identifier, &job.command));
        let mut found = self.below.iter().filter(is);
        found.next().and_then(Item::job) == Some(job)
            && found.next().is_none()
            && !self.above.iter().filter_map(Item::job).any(|it| it.is_marked(identifier))
    }

    /// Behind the last job of its sort, as Salt orders them: plain ones first.
    pub(super) fn add(&mut self, job: Job) {
        let last = |plain: bool| {
            let of_sort = |it: &Item| it.job().is_some_and(|it| !plain || !it.is_special());
            self.below.iter().rposition(of_sort)
        };
        let variable = || self.below.iter().rposition(|it| matches!(it, Item::Variable { .. }));
        let special = job.is_special();
        let at = match last(!special) {
            Some(at) => at + 1,
            None if special => self.below.len(),
            // The first plain one stands before all special ones.
            None => match self.below.iter().position(|it| it.job().is_some()) {
                Some(at) => at,
                None => variable().map_or(self.below.len(), |at| at + 1),
            },
        };
        let lines = job.lines();
        self.below.insert(at, Item::Job { job, lines });
    }

    /// The variable's value below the tag.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.below.iter().find_map(|it| match it {
            Item::Variable { name: found, value } if found == name => Some(value.as_str()),
            _ => None,
        })
    }

    /// Behind the last variable; variables stand before jobs.
    pub(super) fn set_variable(&mut self, name: &str, value: Option<&str>) {
        self.below.retain(|it| !matches!(it, Item::Variable { name: found, .. } if found == name));
        let Some(value) = value else { return };
        let last = self.below.iter().rposition(|it| matches!(it, Item::Variable { .. }));
        let at = last.map_or(0, |at| at + 1);
        self.below.insert(at, Item::Variable { name: name.to_owned(), value: value.to_owned() });
    }
}

impl Item {
    fn job(&self) -> Option<&Job> {
        match self {
            Self::Job { job, .. } => Some(job),
            _ => None,
        }
    }
    fn print(&self) -> Vec<String> {
        match self {
            Self::Line(line) => vec![line.clone()],
            Self::Variable { name, value } => vec![format!("{name}={value}")],
            Self::Job { lines, .. } => lines.clone(),
        }
    }
}

/// Jobs with their comments. Below the tag all comments belong to the job that follows, above it only the marked line.
fn items(lines: &[&str], ours: bool) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    // Comments that may belong to the next job.
    let mut held: Vec<String> = Vec::new();
    for line in lines {
        if let Some(mut job) = job_of(line) {
            let from = held.len() - comments_of(&held, ours);
            let own: Vec<String> = held.split_off(from);
            items.extend(held.drain(..).map(Item::Line));
            let (comment, identifier) = described(&own);
            job.comment = comment;
            job.identifier = identifier;
            let lines = own.into_iter().chain([(*line).to_owned()]).collect();
            items.push(Item::Job { job, lines });
        } else if line.starts_with('#') {
            held.push((*line).to_owned());
        } else {
            items.extend(held.drain(..).map(Item::Line));
            items.push(variable_of(line).unwrap_or_else(|| Item::Line((*line).to_owned())));
        }
    }
    items.extend(held.into_iter().map(Item::Line));
    items
}

/// How many of the last comments are the next job's own: up to the one before that names another.
fn comments_of(held: &[String], ours: bool) -> usize {
    let Some(last) = held.len().checked_sub(1) else { return 0 };
    if !ours {
        return usize::from(held[last].contains(MARKER));
    }
    held[..last].iter().rposition(|it| it.contains(MARKER)).map_or(held.len(), |at| last - at)
}

/// Comment and identifier in these lines.
fn described(lines: &[String]) -> (Option<String>, Option<String>) {
    let mut identifier = None;
    let mut comments = Vec::new();
    for line in lines {
        let mut text = line.trim_start_matches(['#', ' ']);
        if let Some((before, after)) = text.split_once(MARKER) {
            identifier = Some(after.to_owned()).filter(|it| !it.is_empty());
            text = before.trim_end();
        }
        comments.push(text);
    }
    let comment = comments.join("\n");
    (Some(comment).filter(|it| !lines.is_empty() && !it.is_empty()), identifier)
}

fn variable_of(line: &str) -> Option<Item> {
    let (name, value) = line.split_once('=')?;
    let good = !name.is_empty() && !name.contains([' ', '\t', '#']);
    good.then(|| Item::Variable { name: name.to_owned(), value: value.to_owned() })
}

/// Five fields and a command, or one with an `@`; switched off or not.
fn job_of(line: &str) -> Option<Job> {
    let (disabled, line) = match line.strip_prefix(DISABLED) {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let mut rest = line.trim_start();
    let first = rest.chars().next()?;
    if !(first == '*' || first == '@' || first.is_ascii_digit()) {
        return None;
    }
    let count = if first == '@' { 1 } else { 5 };
    let mut fields = Vec::new();
    for _ in 0..count {
        let (field, after) = rest.split_once([' ', '\t'])?;
        fields.push(field);
        rest = after.trim_start();
    }
    let command = rest.trim_end().to_owned();
    let job = Job { comment: None, identifier: None, disabled, when: fields.join(" "), command };
    (!job.command.is_empty()).then_some(job)
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

    const PIECES: [&str; 14] = [
        "\n",
        "\n\n",
        "# a comment\n",
        "MAILTO=root\n",
        "5 4 * * * /bin/true\n",
        "\t*/5 * * * 1-5  echo 'a  b'\n",
        "@daily x\n",
        "# x SALT_CRON_IDENTIFIER:x\n",
        " ",
        "é%\n",
        "\r",
        "#\n",
        "#DISABLED#@daily y\n",
        "# Lines below here are managed by Salt, do not edit\n",
    ];

    fn texts() -> impl Iterator<Item = String> {
        (0..500).map(|seed| {
            let mut random = numbers(seed);
            let count = random.next().unwrap() % 14;
            random.take(count).map(|it| PIECES[it % PIECES.len()]).collect()
        })
    }

    #[test]
    fn printing_what_was_parsed_gives_the_same_text() {
        for text in texts() {
            let printed = Crontab::parse(&text).print();
            let ended =
                if text.is_empty() || text.ends_with('\n') { text.clone() } else { text.clone() + "\n" };
            let expected = if text.lines().any(|it| it == TAG) { ended } else { format!("{ended}{TAG}\n") };
            assert_eq!(printed, expected);
        }
    }

    #[test]
    fn putting_a_job_twice_is_putting_it_once_and_other_lines_stay() {
        let job = Job {
            comment: Some("hello".into()),
            identifier: Some("mine".into()),
            disabled: false,
            when: "1 2 * * *".into(),
            command: "/bin/job".into(),
        };
        for text in texts() {
            let mut crontab = Crontab::parse(&text);
            crontab.remove("mine", "/bin/job");
            crontab.add(job.clone());
            let once = crontab.print();
            assert!(Crontab::parse(&once).has(&job), "{text:?}");
            let mut twice = Crontab::parse(&once);
            twice.remove("mine", "/bin/job");
            assert_eq!(twice.print(), Crontab::parse(&text).print());
            assert!(once.contains("# hello SALT_CRON_IDENTIFIER:mine\n1 2 * * * /bin/job\n"));
        }
    }
}
