//! Beacons that ask other programs of the machine, or other machines: their settings.

use super::{BeaconKind, Limits, Setting, SettingKind};
use crate::Doc;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// States of units that are told.
const UNIT_STATES: &[&str] = &["failed", "inactive", "active", "restarting"];
/// What of processes is compared with limits.
const PROCESS_MEASURES: &[&str] = &["count", "cpu", "memory"];
/// Priorities of syslog, the worst first.
const PRIORITIES: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// What happens to containers.
const CONTAINER_EVENTS: &[&str] =
    &["start", "die", "oom", "pause", "unpause", "healthy", "unhealthy", "destroy"];
/// What happens to virtual machines.
const DOMAIN_EVENTS: &[&str] = &[
    "started",
    "stopped",
    "shutdown",
    "destroyed",
    "crashed",
    "failed",
    "migrated",
    "saved",
    "suspended",
    "resumed",
    "defined",
    "undefined",
];

/// In order of name.
pub(super) const KINDS: &[BeaconKind] =
    &[CHECK, DOCKER, LIBVIRT, LOG, PROCESS, REBOOT_REQUIRED, SCRIPT, SERVICE, UPDATES];

const SERVICE: BeaconKind = BeaconKind {
    name: "service",
    doc: Doc::new(
        "States of systemd's units, as the bus tells them: no polling. Without a bus it asks systemctl (or OpenRC's rc-service) every 10 s, and says so in the log.",
    ),
    cost: Doc::new(
        "Nothing while nothing happens: the bus wakes it. Where there is no bus, one program every 10 s (about 10 ms each).",
    ),
    fields: Doc::new(
        "unit: its full name\nstate: `failed`, `inactive`, `active`, or `restarting` when systemd will start it again by itself\nwas: the state that was told before, if there was one\nsub: systemd's finer word, such as `auto-restart`\nresult: why it ended, if it did not end well: `exit-code`, `signal`, `oom-kill`, `start-limit-hit`, ...\nrestarts: how often systemd started it again by itself\nlimit: said once, without a unit, when more than 512 units fit",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of(
            "unit",
            SettingKind::Texts,
            "",
            "Which units, as `systemctl list-units` names them; `*`, `?` and `[a-z]` stand for others. Without a suffix it is a service.",
        )
        .required(),
        Setting::of(
            "states",
            SettingKind::Words(UNIT_STATES),
            "failed, active, restarting",
            "Which states make an event.",
        ),
        Setting::of(
            "settle",
            SettingKind::Time(0, HOUR),
            "5s",
            "How long `active` and `inactive` must last before they count, so that a restart is not told as an end; `failed` and `restarting` are told at once.",
        ),
    ],
    example: Doc::new("beacons:\n  service:\n    - { unit: [nginx, \"postgresql@*\"], states: [failed, restarting] }"),
};

const PROCESS: BeaconKind = BeaconKind {
    name: "process",
    doc: Doc::new(
        "Whether processes are there, how many, and what they use together. Without limits it is an event when none is left.",
    ),
    cost: Doc::new("Reads two small files a process every 30 s: about 10 ms for 300 processes."),
    fields: Doc::new(
        "state: `on` when the limit is crossed, `off` when it is well again\ncount: how many there are\npercent: of one processor (`cpu`) or of all memory (`memory`)\nused: bytes of memory\nmeasure: what is compared\npids: the first eight",
    ),
    interval_ms: 30_000,
    limits: Some(Limits { percent: true, plain: true, above: None }),
    settings: &[
        Setting::of(
            "process",
            SettingKind::Texts,
            "any",
            "Names as `ps -e` shows them; `*` and `?` stand for others.",
        ),
        Setting::of("cmdline", SettingKind::Text, "any", "The whole command line, with `*` and `?`."),
        Setting::of("pidfile", SettingKind::Path, "none", "Only the process whose number is in this file."),
        Setting::of(
            "measure",
            SettingKind::Word(PROCESS_MEASURES),
            "count",
            "What the limits are about: how many, processor time (100% is one processor), or memory.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  process:\n    - { process: nginx }\n    - { process: \"qemu*\", measure: memory, above: 80%, for: 5m }",
    ),
};

const LOG: BeaconKind = BeaconKind {
    name: "log",
    doc: Doc::new(
        "Lines of the journal or of files. Only what a pattern captures travels, unless `line: true`: nobody knows what is in a log. What is written to the journal while the agent restarts is seen afterwards, if that took less than a day; of a file it is not.",
    ),
    cost: Doc::new(
        "One `journalctl --follow` or `tail -F` each, which sleep until something is written: 2 to 10 MiB of memory, and about 20 µs a line. Where the journal was read to is written every 5 s while lines come, else every hour.",
    ),
    fields: Doc::new(
        "unit: whose line it is, if the journal says so\nidentifier: what the program calls itself\npriority: 0 (the worst) to 7\nfile: the file, if it is one\nline: the line, if that is wanted\nmore: each capture, by its name\nmatches: how many lines fitted since the event before, if there were several",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of(
            "file",
            SettingKind::Path,
            "the journal",
            "A file, followed also when it is rotated or truncated.",
        ),
        Setting::of(
            "unit",
            SettingKind::Texts,
            "all",
            "Only lines of or about these units; `*` and `?` stand for others.",
        ),
        Setting::of(
            "identifier",
            SettingKind::Texts,
            "all",
            "Only lines of programs that call themselves so.",
        ),
        Setting::of(
            "priority",
            SettingKind::Word(PRIORITIES),
            "debug",
            "Only lines of this priority or worse.",
        ),
        Setting::of("contains", SettingKind::Texts, "anything", "One of these texts is in it."),
        Setting::of(
            "pattern",
            SettingKind::Texts,
            "anything",
            "One of these is in it: `*` is anything, `{name}` a word and `{name*}` the rest, which the event then has under that name.",
        ),
        Setting::of(
            "line",
            SettingKind::Flag,
            "false",
            "Whether the event has the line itself (its first 1024 bytes).",
        ),
        Setting::of(
            "every",
            SettingKind::Time(0, DAY),
            "1s",
            "At most one event in this time; after it the last line that fitted meanwhile is told, with how many there were.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  log:\n    - { unit: ssh, pattern: \"Failed password for {user} from {address} \" }\n    - { file: /var/log/app.log, contains: OutOfMemory, line: true }",
    ),
};

const UPDATES: BeaconKind = BeaconKind {
    name: "updates",
    doc: Doc::new(
        "Packages that could be upgraded, as the package manager knows from the lists that it has: it never fetches them. An event when their number changes.",
    ),
    cost: Doc::new(
        "One question to the package manager every 6 h: 0.3 to 3 s of a processor, at low priority.",
    ),
    fields: Doc::new(
        "count: how many\nsecurity: how many of them come from a repository for security, where the package manager tells (apt)\npackages: the first 20 names\nmanager: which package manager",
    ),
    interval_ms: 6 * HOUR,
    limits: None,
    settings: &[
        Setting::of("least", SettingKind::Count(0, 100_000), "0", "Fewer than this count as none."),
        Setting::of(
            "security_only",
            SettingKind::Flag,
            "false",
            "Whether only those for security count (apt).",
        ),
    ],
    example: Doc::new("beacons:\n  updates: { security_only: true, interval: 12h }"),
};

const REBOOT_REQUIRED: BeaconKind = BeaconKind {
    name: "reboot_required",
    doc: Doc::new(
        "Whether the machine waits for a reboot: /run/reboot-required is there, or a newer kernel than the one that runs is installed; on Debian and its kin one of the same flavour (`amd64`, `rt-amd64`, `pve`, `rpi-v8`).",
    ),
    cost: Doc::new("Looks at one file and one folder every 5 min."),
    fields: Doc::new(
        "required: true, or false when it no longer is\nkernel: the one that runs\ninstalled: the newest one that is installed, if that is newer\npackages: which asked for it, where that is written down (at most 20)",
    ),
    interval_ms: 5 * MINUTE,
    limits: None,
    settings: &[],
    example: Doc::new("beacons:\n  reboot_required: {}"),
};

const CHECK: BeaconKind = BeaconKind {
    name: "check",
    doc: Doc::new(
        "Whether something answers: a page (`http`), a port (`tcp`) or a machine (`ping`). An event when it is down, and when it is up again.",
    ),
    cost: Doc::new(
        "One connection, or one run of `ping`, every 60 s: below 1 ms of a processor, 3 ms with TLS.",
    ),
    fields: Doc::new(
        "target: what was asked\nstate: `up`, `slow` or `down`\nreason: why it is down\nstatus: HTTP status, if there was one\nlatency_ms: how long it took\nsince_s: how long it was in the state before",
    ),
    interval_ms: MINUTE,
    limits: None,
    settings: &[
        Setting::of("http", SettingKind::Text, "none", "An address `http://...` or `https://...`."),
        Setting::of("tcp", SettingKind::Text, "none", "`host:port`."),
        Setting::of("ping", SettingKind::Text, "none", "A host. It needs the program `ping`."),
        Setting::of(
            "status",
            SettingKind::Texts,
            "200 to 399",
            "HTTP status that is well: `200`, `2xx`, or a list.",
        ),
        Setting::of(
            "contains",
            SettingKind::Text,
            "anything",
            "What the first 256 KiB of the page must contain.",
        ),
        Setting::of("timeout", SettingKind::Time(100, MINUTE), "10s", "How long it may take in all."),
        Setting::of("latency", SettingKind::Time(1, MINUTE), "none", "Slower than this is `slow`."),
        Setting::of(
            "times",
            SettingKind::Count(1, 1000),
            "2",
            "So many checks in a row must say that it is not well; if some say `slow` and some `down`, the last one counts.",
        ),
        Setting::of("for", SettingKind::Time(0, DAY), "0", "And it must last so long."),
        Setting::of(
            "ca",
            SettingKind::Path,
            "the system's",
            "File with the certificates (PEM) that are believed, instead.",
        ),
        Setting::of(
            "pin",
            SettingKind::Text,
            "none",
            "SHA-256 of the server's certificate, in hexadecimal: it is believed, and no other.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  check:\n    - { http: \"https://git.lab.example/healthz\", contains: ok, latency: 2s }\n    - { tcp: \"db:5432\", interval: 30s }\n    - { ping: 192.0.2.1, for: 5m }",
    ),
};

const DOCKER: BeaconKind = BeaconKind {
    name: "docker",
    doc: Doc::new(
        "What happens to containers of Docker or Podman: start, end, out of memory, health. After a break it asks what there is, so that an end in between is told too.",
    ),
    cost: Doc::new("One `docker events`, which sleeps until something happens: about 25 MiB of memory."),
    fields: Doc::new(
        "container: its name\nid: the first twelve characters of its id\nimage: what it is made of\nevent: `start`, `die`, `oom`, `pause`, `unpause`, `healthy`, `unhealthy` or `destroy`\nexit_code: how it ended\nmissed: true if it happened while nobody looked",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of("container", SettingKind::Texts, "all", "Which, by name; `*` and `?` stand for others."),
        Setting::of(
            "label",
            SettingKind::Texts,
            "all",
            "Only those with one of these labels: `key` or `key=value`, with `*` and `?`.",
        ),
        Setting::of(
            "events",
            SettingKind::Words(CONTAINER_EVENTS),
            "die, oom, unhealthy, healthy, start",
            "Which events.",
        ),
        Setting::of(
            "engine",
            SettingKind::Word(&["docker", "podman"]),
            "the one that is there",
            "Which program is asked.",
        ),
    ],
    example: Doc::new("beacons:\n  docker: { container: \"web-*\", events: [die, oom, unhealthy] }"),
};

const LIBVIRT: BeaconKind = BeaconKind {
    name: "libvirt",
    doc: Doc::new(
        "What happens to the virtual machines of a hypervisor with libvirt: started, stopped, destroyed, crashed, suspended. After a break it asks which run, so that a change in between is told too.",
    ),
    cost: Doc::new("One `virsh event --loop`, which sleeps until something happens: about 15 MiB of memory."),
    fields: Doc::new(
        "domain: its name\nevent: `started`, `stopped`, `destroyed`, `crashed`, `suspended`, ...\ndetail: libvirt's finer word, such as `Booted` or `Migrated`\nmissed: true if it happened while nobody looked",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of("domain", SettingKind::Texts, "all", "Which, by name; `*` and `?` stand for others."),
        Setting::of(
            "events",
            SettingKind::Words(DOMAIN_EVENTS),
            "all but defined and undefined",
            "Which events. `stopped` is every end whose reason has no word of its own here.",
        ),
        Setting::of(
            "connect",
            SettingKind::Text,
            "qemu:///system",
            "Which hypervisor, as for `virsh --connect`.",
        ),
    ],
    example: Doc::new("beacons:\n  libvirt: {}"),
};

const SCRIPT: BeaconKind = BeaconKind {
    name: "script",
    doc: Doc::new(
        "Whatever a program of yours tells: each line of its standard output that is a JSON object becomes an event. It belongs to root, nobody else may write it, and no shell is involved. It runs on and on and is started again when it ends, or with `interval` now and then.",
    ),
    cost: Doc::new("What the program costs, at low priority."),
    fields: Doc::new("more: the object that the program wrote"),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of("path", SettingKind::Path, "", "The program.").required(),
        Setting::of("arguments", SettingKind::Texts, "none", "What it is called with."),
        Setting::of("env", SettingKind::Map, "none", "Its environment, beside PATH, HOME and LANG."),
        Setting::of(
            "timeout",
            SettingKind::Time(100, DAY),
            "60s with `interval`, else none",
            "A run that takes longer is ended.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  ups:\n    beacon: script\n    path: /usr/local/libexec/ups-watch\n    arguments: [--json]",
    ),
};
