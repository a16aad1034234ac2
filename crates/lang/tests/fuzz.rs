//! Texts that nobody would write: seeded mutations of those that people do. No input panics, hangs or takes memory
//! without bound. `LABCTL_FUZZ_SECONDS` is the time for each target, `LABCTL_FUZZ_SEED` where it begins.

#[path = "fuzz/targets.rs"]
mod targets;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// For each target, without `LABCTL_FUZZ_SECONDS`: all of them take a minute on one core.
const SECONDS: u64 = 6;
/// Longest input.
const INPUT_MAX: usize = 64 * 1024;
/// Longest that one input may take, on a machine that is busy and without optimization.
const ONE_MAX: Duration = Duration::from_secs(20);
/// Memory of the whole process.
const MEMORY_MAX_KIB: u64 = 3 * 1024 * 1024;

/// Words that mean something to somebody.
const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{{#each",
    "{{/each}}",
    "{{#if",
    "{{else}}",
    "{{>",
    " | ",
    "for x in",
    "endfor",
    "set",
    "macro",
    "import",
    "include:\n  - a\n",
    "extend:\n",
    "exclude:\n",
    "require:",
    "watch_in:",
    "- ",
    ": ",
    "&a ",
    "*a ",
    "<<: ",
    "!secret ",
    "!!int ",
    "|\n",
    ">-\n",
    "\n\n",
    "  ",
    "\t",
    "'",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "salt['pillar.get']('",
    "grains.",
    "pillar.",
    "range(",
    "~",
    "**",
    "9999999999",
    "-1",
    "0x",
    "1e999",
    "\u{0}",
    "\u{feff}",
    "\u{FDD0}",
    "\u{E000}",
    "\u{E001}",
    "é",
    "file.managed:",
    "cmd.run",
    "names:",
    "and",
    "or",
    "not",
    "(",
    ")",
    "G@",
    "E@",
    "*",
    "#!jinja|yaml\n",
    "#!py\n",
];

/// What people write.
const SEEDS: &[&str] = &[
    "a:\n  pkg.installed:\n    - name: x\n    - require:\n      - b\nb:\n  test.nop: []\n",
    "{% set m = {'a': [1, 2]} %}{% for k, v in m.items() if v %}\n{{ k }}-{{ loop.index }}:\n  cmd.run:\n    - name: echo {{ v | join(',') | upper }}\n{% endfor %}\n",
    "{% macro m(a, b=2) %}{{ a ~ b }}{% endmacro %}\nx:\n  file.managed:\n    - name: /{{ m('x') }}\n    - contents: |\n        {{ grains['os'] }}\n",
    "{{#each grains.ips}}\ni{{@index}}:\n  cmd.run:\n    name: echo {{this}}\n{{/each}}\n",
    "base:\n  '*':\n    - a\n  'os:Debian':\n    - match: grain\n    - a\n",
    "rule:\n  on: minion/+/start\n  when: event.x > 3 and grains.os ~ \"D.*\"\n  do:\n    - apply: { target: \"{{minion}}\", states: [web] }\n",
    "go:\n  local.cmd.run:\n    - tgt: {{ data['id'] }}\n    - arg:\n      - echo {{ data.word }}\n",
    "reactor:\n  - 'salt/minion/*/start':\n    - /srv/x.sls\nfile_roots:\n  base: [/srv/salt]\n",
    "web-* and not (os=debian or ip:10.0.0.0/24) and ~'a.*'",
    "a: &x {b: [1, 2], c: *x}\nd: {<<: *x}\n",
];

/// xorshift64*: the same seed gives the same inputs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end.max(1) as u64).unwrap()
    }
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.below(length + 1), self.below(length + 1));
        a.min(b)..a.max(b)
    }
}

fn mutate(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(data.len() + 1);
        match dice.below(8) {
            0 if !data.is_empty() => {
                let at = at.min(data.len() - 1);
                data[at] ^= 1 << dice.below(8);
            }
            1 | 2 => {
                let word = WORDS[dice.below(WORDS.len())];
                data.splice(at..at, word.bytes());
            }
            3 => {
                let range = dice.range(data.len());
                data.drain(range);
            }
            4 => {
                let piece = data[dice.range(data.len())].to_vec();
                data.splice(at..at, piece);
            }
            5 => {
                // Deep, or long.
                let word = WORDS[dice.below(WORDS.len())].repeat(1 << dice.below(11));
                data.splice(at..at, word.bytes());
            }
            6 => {
                let other = &corpus[dice.below(corpus.len())];
                let piece = other[dice.range(other.len())].to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                let range = dice.range(data.len());
                let piece = data[range].repeat(1 + dice.below(4));
                data.splice(at..at, piece);
            }
        }
        data.truncate(INPUT_MAX);
    }
    data
}

fn corpus() -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = SEEDS.iter().map(|it| it.as_bytes().to_vec()).collect();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "sls" || it == "jinja" || it == "yaml") {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

fn most_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
    line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn no_input_panics_hangs_or_takes_all_memory() {
    let (corpus, seconds) = (corpus(), number("LABCTL_FUZZ_SECONDS", SECONDS));
    let seed = number("LABCTL_FUZZ_SEED", 1);
    for (index, (name, target)) in targets::TARGETS.iter().enumerate() {
        let mut dice = Dice((seed << 8) + index as u64 + 1);
        let began = Instant::now();
        let mut inputs = 0_u64;
        while began.elapsed() < Duration::from_secs(seconds) {
            let data = mutate(&mut dice, &corpus);
            let (ended, took) = run(*target, &data);
            assert!(ended, "{name} panics (seed {seed}): {:?}", String::from_utf8_lossy(&data));
            assert!(
                took < ONE_MAX,
                "{name} takes {took:?} (seed {seed}): {:?}",
                String::from_utf8_lossy(&data)
            );
            inputs += 1;
        }
        eprintln!("{name}: {inputs} inputs");
        let memory = most_memory_kib();
        assert!(memory < MEMORY_MAX_KIB, "after {name} (seed {seed}): {memory} KiB");
    }
}

/// On a stack as small as that of the master's threads.
fn run(target: targets::Entry, data: &[u8]) -> (bool, Duration) {
    const STACK: usize = 2 * 1024 * 1024;
    let began = Instant::now();
    let ended = std::thread::scope(|scope| {
        let work = || catch_unwind(AssertUnwindSafe(|| target(data))).is_ok();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap_or(false)
    });
    (ended, began.elapsed())
}

/// Inputs by name that would break a reader without bounds.
#[test]
fn what_is_meant_to_hurt_ends_soon_with_a_complaint() {
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, at| {
        format!("{text}a{at}: &a{at} [*a{0}, *a{0}, *a{0}]\n", at - 1)
    });
    let endless = "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a bomb of aliases", bomb.into_bytes()),
        ("deep lists", "[".repeat(100_000).into_bytes()),
        ("deep mappings", (0..20_000).flat_map(|it| [" ".repeat(it % 200), "a:\n".to_owned()]).collect::<String>().into_bytes()),
        ("an endless loop", endless.into()),
        ("a macro that calls itself", "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}".into()),
        ("a file that includes itself", "include:\n  - a\n".into()),
        ("a template that includes itself", "{% include 'a.sls' %}{% include 'a.sls' %}".into()),
        ("a text that doubles", "{% set ns = namespace(t='x') %}{% for i in range(200) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}".into()),
        ("a large power", "{{ 9 ** 999999999 }}{{ 'x' * 999999999 }}{{ [1] * 999999999 }}".into()),
        ("deep parentheses", format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000)).into_bytes()),
        ("a wide range", "{{ range(99999999999) | list }}".into()),
        ("ten megabytes", b"a: b\n".repeat(2 * 1024 * 1024)),
        ("a line of ten megabytes", b"x".repeat(10 * 1024 * 1024)),
        ("bytes of a program", (0..200_000_u32).map(|it| u8::try_from(it * 7 % 256).unwrap()).collect()),
        ("a pattern that backtracks", "E@(a+)+$ and ~'(x*)*y' and ~'((((a{100}){100}){100}){100})'".into()),
        ("a long expression", "not ".repeat(100_000).into_bytes()),
        ("nothing but dashes", "- ".repeat(200_000).into_bytes()),
    ];
    for (name, data) in &cases {
        for (target, entry) in targets::TARGETS {
            let (ended, took) = run(*entry, data);
            assert!(ended, "{target} panics at {name}");
            assert!(took < ONE_MAX, "{target} takes {took:?} for {name}");
        }
    }
    assert!(most_memory_kib() < MEMORY_MAX_KIB, "{} KiB", most_memory_kib());
}
