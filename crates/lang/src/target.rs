//! Target expressions: whom a command, a rule or a top file means. The grammar is in `docs/reference/targeting.md`.

pub use crate::candidate::Candidate;

use crate::{
    expression::{Cursor, Operand, Operator, Parsed, is_glob},
    limits,
    say::{Say, did_you_mean},
    subdict::{How, Subdict},
};
use ipnet::IpNet;
use model::{Diagnostic, Grains, MinionId, Presence};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A parsed expression; kept as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    text: String,
    root: Clause,
}

impl TryFrom<String> for Target {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|it| it.message)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.text
    }
}

#[derive(Clone, Debug)]
enum Clause {
    All(Vec<Clause>),
    Any(Vec<Clause>),
    Not(Box<Clause>),
    /// A test and the bytes it is written in.
    Test(Test, usize, usize),
}

#[derive(Clone, Debug)]
enum Test {
    Id(Operand),
    Grain(String, Operator, Operand),
    /// None: whether there is one.
    Label(String, Option<(Operator, Operand)>),
    Pillar(String, Option<(Operator, Operand)>),
    /// Salt's `path:to:value` over grains or pillar.
    Grains(Subdict),
    Pillars(Subdict),
    Net(IpNet),
    State(Operand),
    Online(bool),
    Failed,
    Drifted,
    Maintenance,
}

/// What decides whether an expression may be used somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// What the minion says of itself: grains and addresses.
    Asserted,
    Pillar,
    States,
    /// Presence and results.
    Now,
}

impl Target {
    /// Parses; the diagnostic's span points into the expression (its file is `target`).
    #[expect(clippy::result_large_err, reason = "the caller shows it at once")]
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        Self::parse_in(text, "target").map_err(|it| *it)
    }
    pub(crate) fn parse_in(text: &str, file: &str) -> Parsed<Self> {
        let mut cursor = Cursor::new(text, file, "E0301")?;
        let root = any(&mut cursor)?;
        if !cursor.at_end() {
            return Err(unexpected_after(&cursor));
        }
        Ok(Self { text: text.to_owned(), root })
    }
    /// Whether it matches.
    pub fn matches(&self, candidate: &dyn Candidate) -> bool {
        self.root.matches(candidate)
    }
    /// The clause that matched, for people (`vm-*`, `label:role=web`); `None` if it does not match.
    pub fn explain(&self, candidate: &dyn Candidate) -> Option<String> {
        self.matches(candidate).then(|| self.root.explain(candidate, &self.text))
    }
    /// Names of grains and labels that no candidate has: a typing error rather than an empty match.
    /// Diagnostics come with "did you mean".
    pub fn unknown_names(&self, candidates: &[&dyn Candidate]) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        if candidates.is_empty() {
            return told;
        }
        self.root.tests(&mut |test, byte, _| {
            let (what, name, known): (_, &str, Vec<String>) = match test {
                Test::Grain(path, ..) => {
                    if candidates.iter().any(|it| grain(it.grains(), path).is_some()) {
                        return;
                    }
                    ("grain", path, candidates.iter().flat_map(|it| paths(it.grains())).collect())
                }
                Test::Grains(subdict) => {
                    if subdict.name() == "*"
                        || candidates.iter().any(|it| it.grains().contains_key(subdict.name()))
                    {
                        return;
                    }
                    ("grain", subdict.name(), candidates.iter().flat_map(|it| paths(it.grains())).collect())
                }
                Test::Label(key, _) => {
                    if candidates.iter().any(|it| it.labels().contains_key(key)) {
                        return;
                    }
                    ("label", key, candidates.iter().flat_map(|it| it.labels().keys().cloned()).collect())
                }
                _ => return,
            };
            let known: BTreeSet<String> = known.into_iter().collect();
            let Ok(cursor) = Cursor::new(&self.text, "target", "E0302") else { return };
            let message = format!("no minion has a {what} `{name}`");
            let found = self.text[byte..].find(name).map_or((byte, 1), |it| (byte + it, name.len()));
            let suggestion = did_you_mean(name, known.iter().map(String::as_str));
            told.push(cursor.complain_as("E0302", found.0, found.1, message).maybe_help(suggestion));
        });
        told
    }
    /// Whether it needs pillar or assigned states, which are expensive.
    pub fn needs_compiler(&self) -> bool {
        self.needs(Needs::Pillar) || self.needs(Needs::States)
    }
    pub(crate) fn needs(&self, what: Needs) -> bool {
        let mut found = false;
        self.root.tests(&mut |test, _, _| {
            found |= match test {
                Test::Grain(..) | Test::Grains(_) | Test::Net(_) => what == Needs::Asserted,
                Test::Pillar(..) | Test::Pillars(_) => what == Needs::Pillar,
                Test::State(_) => what == Needs::States,
                Test::Online(_) | Test::Failed | Test::Drifted | Test::Maintenance => what == Needs::Now,
                Test::Id(_) | Test::Label(..) => false,
            };
        });
        found
    }
}

impl Clause {
    fn matches(&self, it: &dyn Candidate) -> bool {
        match self {
            Self::All(clauses) => clauses.iter().all(|clause| clause.matches(it)),
            Self::Any(clauses) => clauses.iter().any(|clause| clause.matches(it)),
            Self::Not(a) => !a.matches(it),
            Self::Test(test, ..) => test.matches(it),
        }
    }
    fn explain(&self, it: &dyn Candidate, text: &str) -> String {
        match self {
            Self::All(clauses) => {
                clauses.iter().map(|clause| clause.explain(it, text)).collect::<Vec<_>>().join(" and ")
            }
            Self::Any(clauses) => clauses
                .iter()
                .find(|clause| clause.matches(it))
                .map_or_else(|| text.to_owned(), |clause| clause.explain(it, text)),
            Self::Not(a) => format!("not {}", a.explain(it, text)),
            Self::Test(_, byte, length) => text[*byte..byte + length].trim().to_owned(),
        }
    }
    fn tests(&self, tell: &mut dyn FnMut(&Test, usize, usize)) {
        match self {
            Self::All(clauses) | Self::Any(clauses) => clauses.iter().for_each(|it| it.tests(tell)),
            Self::Not(a) => a.tests(tell),
            Self::Test(test, byte, length) => tell(test, *byte, *length),
        }
    }
}

impl Test {
    fn matches(&self, it: &dyn Candidate) -> bool {
        match self {
            Self::Id(operand) => operand.holds(Operator::Equal, Some(&Value::from(it.id().as_str()))),
            Self::Grain(path, operator, operand) => operand.holds(*operator, grain(it.grains(), path)),
            Self::Label(key, None) => it.labels().contains_key(key),
            Self::Label(key, Some((operator, operand))) => {
                let value = it.labels().get(key).map(|it| Value::from(it.as_str()));
                operand.holds(*operator, value.as_ref())
            }
            Self::Pillar(path, None) => it.pillar(path).is_some(),
            Self::Pillar(path, Some((operator, operand))) => {
                operand.holds(*operator, it.pillar(path).as_ref())
            }
            Self::Grains(subdict) => subdict.matches(&|path| match path {
                "*" => Some(Value::Object(it.grains().clone())),
                path => {
                    let mut steps = path.split(':');
                    let first = it.grains().get(steps.next()?)?;
                    crate::compare::lookup(first, steps).cloned()
                }
            }),
            Self::Pillars(subdict) => subdict.matches(&|path| it.pillar(path)),
            Self::Net(net) => it.addresses().iter().any(|it| net.contains(it)),
            Self::State(operand) => {
                it.assigned().iter().any(|it| operand.holds(Operator::Equal, Some(&Value::from(it.as_str()))))
            }
            Self::Online(wanted) => matches!(it.presence(), Presence::Up | Presence::Quiet) == *wanted,
            Self::Failed => it.failed(),
            Self::Drifted => it.drifted(),
            Self::Maintenance => it.in_maintenance(),
        }
    }
}

/// A grain by its name or its path (`os.version`, `os:version`).
pub(crate) fn grain<'a>(grains: &'a Grains, path: &str) -> Option<&'a Value> {
    if let Some(value) = grains.get(path) {
        return Some(value);
    }
    let mut steps = path.split(['.', ':']);
    let first = grains.get(steps.next()?)?;
    crate::compare::lookup(first, steps)
}

/// Most names of grains that are offered as suggestions.
const SUGGESTED_PATHS: usize = 2_000;

fn paths(grains: &Grains) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<(String, &Value)> = grains.iter().map(|(key, it)| (key.clone(), it)).collect();
    while let Some((path, value)) = open.pop() {
        if found.len() >= SUGGESTED_PATHS {
            break;
        }
        if let Value::Object(map) = value {
            open.extend(map.iter().map(|(key, it)| (format!("{path}.{key}"), it)));
        }
        found.push(path);
    }
    found
}

/// `a or b`, `a, b`.
fn any(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    let mut clauses = vec![all(cursor)?];
    while cursor.eat_word("or") || cursor.eat(",") {
        clauses.push(all(cursor)?);
    }
    Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::Any(clauses) })
}

/// `a and b`.
fn all(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    let mut clauses = vec![one(cursor)?];
    while cursor.eat_word("and") {
        clauses.push(one(cursor)?);
    }
    Ok(if clauses.len() == 1 { clauses.remove(0) } else { Clause::All(clauses) })
}

#[expect(clippy::unnecessary_box_returns, reason = "goes into a `Parsed`, whose error is boxed")]
fn unexpected_after(cursor: &Cursor<'_>) -> Box<Diagnostic> {
    let mut diagnostic = *cursor.unexpected("`and`, `or` or `,`");
    if cursor.rest().starts_with("&&") || cursor.rest().starts_with("||") {
        diagnostic = diagnostic.help("write `and` and `or`");
    }
    Box::new(diagnostic)
}

fn one(cursor: &mut Cursor<'_>) -> Parsed<Clause> {
    if cursor.eat_word("not") {
        cursor.descend()?;
        let inner = one(cursor)?;
        cursor.depth -= 1;
        return Ok(Clause::Not(Box::new(inner)));
    }
    if cursor.eat("(") {
        cursor.descend()?;
        let inner = any(cursor)?;
        cursor.depth -= 1;
        return if cursor.eat(")") { Ok(inner) } else { Err(cursor.unexpected("`)`")) };
    }
    cursor.skip_space();
    let start = cursor.byte;
    let test = test(cursor)?;
    Ok(Clause::Test(test, start, cursor.byte - start))
}

fn ends_word(rest: &str) -> bool {
    rest.starts_with([')', ',', '=', '<', '>', '~', '(']) || rest.starts_with("!=")
}

fn test(cursor: &mut Cursor<'_>) -> Parsed<Test> {
    let start = cursor.byte;
    if cursor.rest().starts_with('~') {
        cursor.byte += 1;
        return Ok(Test::Id(pattern(cursor)?));
    }
    if let Some(kind @ ('E' | 'P' | 'G' | 'L' | 'S' | 'I' | 'N' | 'J' | 'R' | 'X')) =
        cursor.rest().chars().next()
        && cursor.rest()[1..].starts_with('@')
    {
        cursor.byte += 2;
        return salt(cursor, kind, start);
    }
    let word = match cursor.quoted()? {
        Some(word) => word,
        None => cursor.bare(ends_word).to_owned(),
    };
    if word.is_empty() {
        return Err(cursor.unexpected("a target"));
    }
    let (kind, name) = word.split_once(':').unwrap_or(("", &word));
    match kind {
        "label" => Ok(Test::Label(named(cursor, name, start, "label:role=web")?, comparison(cursor)?)),
        "pillar" => Ok(Test::Pillar(named(cursor, name, start, "pillar:tier=prod")?, comparison(cursor)?)),
        "ip" => net(cursor, name, start),
        "state" => Ok(Test::State(operand_of(cursor, &named(cursor, name, start, "state:web")?, start)?)),
        "file" => Err(Box::new(cursor.complain(
            start,
            word.len(),
            "a file of targets works on the command line only, and alone",
        ))),
        _ => plain_word(cursor, &word, start),
    }
}

fn named(cursor: &Cursor<'_>, name: &str, start: usize, example: &str) -> Parsed<String> {
    if name.is_empty() {
        let complaint = cursor.complain(start, cursor.byte - start, "a name is missing after `:`");
        return Err(Box::new(complaint.help(format!("write `{example}`"))));
    }
    Ok(name.to_owned())
}

fn plain_word(cursor: &mut Cursor<'_>, word: &str, start: usize) -> Parsed<Test> {
    if let Some(role) = word.strip_prefix('@') {
        let role = named(cursor, role, start, "@web")?;
        return Ok(Test::Label(
            "role".to_owned(),
            Some((Operator::Equal, operand_of(cursor, &role, start)?)),
        ));
    }
    let before = *cursor;
    if let Some((operator, operand)) = comparison(cursor)? {
        return Ok(Test::Grain(word.to_owned(), operator, operand));
    }
    *cursor = before;
    match word {
        "online" => Ok(Test::Online(true)),
        "offline" => Ok(Test::Online(false)),
        "failed" => Ok(Test::Failed),
        "drifted" => Ok(Test::Drifted),
        "maintenance" => Ok(Test::Maintenance),
        "and" | "or" => {
            Err(Box::new(cursor.complain(start, word.len(), format!("`{word}` has nothing before it"))))
        }
        "all" => Ok(Test::Id(operand_of(cursor, "*", start)?)),
        _ => id(cursor, word, start),
    }
}

/// An id or a glob over ids; what can never be one is a typing error.
fn id(cursor: &Cursor<'_>, word: &str, start: usize) -> Parsed<Test> {
    let strange = word.chars().find(|it| !it.is_ascii_alphanumeric() && !"-._*?[]{},!^".contains(*it));
    if let Some(strange) = strange {
        let message = format!("`{word}` cannot be a minion: no id has `{strange}` in it");
        let help = match word.split_once(':') {
            Some(_) => "targets with a colon begin with `label:`, `ip:`, `pillar:` or `state:`",
            None => "use a-z, 0-9, `-` and `.`, with `*`, `?`, `[…]` or `{a,b}` for several",
        };
        return Err(Box::new(cursor.complain(start, word.len(), message).help(help)));
    }
    if !is_glob(word) && word.chars().any(|it| it.is_ascii_uppercase()) {
        let message = format!("`{word}` cannot be a minion: ids are lower case");
        let help = format!("did you mean `{}`?", word.to_lowercase());
        return Err(Box::new(cursor.complain(start, word.len(), message).help(help)));
    }
    Ok(Test::Id(operand_of(cursor, word, start)?))
}

fn operand_of(cursor: &Cursor<'_>, text: &str, byte: usize) -> Parsed<Operand> {
    if !is_glob(text) {
        return Ok(Operand::Text(Value::from(text)));
    }
    let glob = globset::GlobBuilder::new(text).case_insensitive(true).build().map_err(|cause| {
        let message = format!("`{text}` is not a pattern: {}", cause.kind());
        Box::new(cursor.complain_as("E0304", byte, cursor.byte.saturating_sub(byte).max(1), message))
    })?;
    Ok(Operand::Glob(glob.compile_matcher()))
}

fn pattern(cursor: &mut Cursor<'_>) -> Parsed<Operand> {
    cursor.skip_space();
    let start = cursor.byte;
    let pattern = cursor.value()?;
    Ok(Operand::Regex(cursor.regex(&pattern, start)?))
}

fn comparison(cursor: &mut Cursor<'_>) -> Parsed<Option<(Operator, Operand)>> {
    let Some(operator) = cursor.operator() else { return Ok(None) };
    cursor.skip_space();
    let start = cursor.byte;
    let operand = match operator {
        Operator::Matches => pattern(cursor)?,
        Operator::In => Operand::List(cursor.list()?.into_iter().map(Value::from).collect()),
        Operator::Equal | Operator::NotEqual => {
            let quoted = cursor.rest().starts_with(['"', '\'']);
            let text = cursor.value()?;
            if quoted { Operand::Text(Value::from(text)) } else { operand_of(cursor, &text, start)? }
        }
        _ => Operand::Text(Value::from(cursor.value()?)),
    };
    Ok(Some((operator, operand)))
}

fn net(cursor: &Cursor<'_>, text: &str, start: usize) -> Parsed<Test> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.map(Test::Net).ok_or_else(|| {
        let message = format!("`{text}` is neither an address nor a network");
        Box::new(
            cursor.complain_as("E0305", start, cursor.byte - start, message).help("write `ip:10.0.0.0/24`"),
        )
    })
}

/// Salt's compound matchers: `G@os:Debian`, `E@web\d+`, `L@a,b`, `S@10.0.0.0/24`, `I@tier:prod`, `P@os:(a|b)`.
fn salt(cursor: &mut Cursor<'_>, kind: char, start: usize) -> Parsed<Test> {
    let quoted = cursor.quoted()?;
    let value = match kind {
        _ if quoted.is_some() => quoted.as_deref().unwrap_or(""),
        'L' => cursor.bare(|rest| rest.starts_with([')', '('])),
        _ => salt_word(cursor, kind),
    };
    let unavailable = |cursor: &Cursor<'_>| {
        let message = format!("Salt's `{kind}@` is not available");
        let help = "use ids, grains (`os=debian`), labels (`label:role=web`), `ip:` or `pillar:`";
        Box::new(cursor.complain(start, cursor.byte - start, message).help(help))
    };
    let subdict = |how| {
        Subdict::parse(value, how)
            .map_err(|message| Box::new(cursor.complain_as("E0303", start, cursor.byte - start, message)))
    };
    match kind {
        'E' => Ok(Test::Id(Operand::Regex(cursor.regex(&format!("^(?:{value})"), start + 2)?))),
        'L' => Ok(Test::Id(Operand::List(value.split(',').map(|it| Value::from(it.trim())).collect()))),
        'S' => net(cursor, value, start),
        'G' => Ok(Test::Grains(subdict(How::Glob)?)),
        'P' => Ok(Test::Grains(subdict(How::Regex)?)),
        'I' => Ok(Test::Pillars(subdict(How::Glob)?)),
        'J' => Ok(Test::Pillars(subdict(How::Regex)?)),
        'X' => Ok(Test::Pillars(subdict(How::Exact)?)),
        _ => Err(unavailable(cursor)),
    }
}

/// A word with its parentheses: `P@os:(a|b)`. A comma ends it where it is no part of a regular expression.
fn salt_word<'a>(cursor: &mut Cursor<'a>, kind: char) -> &'a str {
    let rest = cursor.rest();
    let mut word = rest.split(char::is_whitespace).next().unwrap_or_default();
    if !matches!(kind, 'E' | 'P' | 'J') {
        word = word.split(',').next().unwrap_or_default();
    }
    let closes = |it: &str| it.ends_with(')') && it.matches(')').count() > it.matches('(').count();
    while word.ends_with(',') || closes(word) {
        word = &word[..word.len() - 1];
    }
    cursor.byte += word.len();
    word
}

/// Ids that a templated `target:` of a rule gives: one id, or several separated by commas. Never parsed
/// as an expression, so that event data cannot widen it.
pub fn literal_ids(text: &str) -> Result<Vec<MinionId>, String> {
    let mut ids: BTreeMap<String, MinionId> = BTreeMap::new();
    for word in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let id: MinionId = word.parse().map_err(|cause: model::InvalidId| cause.to_string())?;
        ids.insert(word.to_owned(), id);
        if ids.len() > limits::LITERAL_IDS {
            return Err(format!("more than {} ids", limits::LITERAL_IDS));
        }
    }
    if ids.is_empty() { Err("no id in it".to_owned()) } else { Ok(ids.into_values().collect()) }
}
