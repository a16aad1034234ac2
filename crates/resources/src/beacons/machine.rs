//! Beacons that the kernel answers: their settings.

use super::{BeaconKind, Limits, Setting, SettingKind};
use crate::Doc;

/// Words of `mask` of the beacon `file`.
const CHANGES: &[&str] = &["create", "modify", "delete", "move", "attributes"];
/// Resources whose pressure the kernel measures.
const PRESSURES: &[&str] = &["cpu", "memory", "io"];

/// In order of name.
pub(super) const KINDS: &[BeaconKind] = &[DISK, FILE, INODES, LOAD, MEMORY, NETWORK, PSI, SWAP, TEMPERATURE];

const PERCENT_OR_BYTES: Limits = Limits { percent: true, plain: true, above: Some("90%") };

const DISK: BeaconKind = BeaconKind {
    name: "disk",
    doc: Doc::new(
        "How full a file system is. A file system on the network is never asked: that could wait for another machine.",
    ),
    cost: Doc::new("One system call for each file system every 30 s."),
    fields: Doc::new(
        "path: the mount point\nstate: `on` when the limit is crossed, `off` when it is well again\npercent: of what is used\nused: bytes\nfree: bytes that programs can still use\ntotal: bytes",
    ),
    interval_ms: 30_000,
    limits: Some(PERCENT_OR_BYTES),
    settings: &[
        Setting::of(
            "path",
            SettingKind::Paths,
            "every disk that is mounted",
            "Which file systems: a path on each.",
        ),
        Setting::of(
            "measure",
            SettingKind::Word(&["used", "free"]),
            "used",
            "What the limits are about: what is used, or what is free.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  disk:\n    - { path: /, above: 90%, clear: 85%, for: 1m }\n    - { path: /srv, measure: free, below: 20GiB }",
    ),
};

const INODES: BeaconKind = BeaconKind {
    name: "inodes",
    doc: Doc::new(
        "How many of a file system's inodes are used: with none left no file can be made, however much room there is.",
    ),
    cost: Doc::new("One system call for each file system every 60 s."),
    fields: Doc::new(
        "path: the mount point\nstate: `on` or `off`\npercent: of what is used\nused: inodes\nfree: inodes\ntotal: inodes",
    ),
    interval_ms: 60_000,
    limits: Some(PERCENT_OR_BYTES),
    settings: &[Setting::of(
        "path",
        SettingKind::Paths,
        "every disk that is mounted",
        "Which file systems: a path on each.",
    )],
    example: Doc::new("beacons:\n  inodes: { above: 95% }"),
};

const MEMORY: BeaconKind = BeaconKind {
    name: "memory",
    doc: Doc::new("How much memory is used: all but what the kernel says programs can still get."),
    cost: Doc::new("Reads /proc/meminfo every 10 s."),
    fields: Doc::new(
        "state: `on` or `off`\npercent: of what is used\nused: bytes\nfree: bytes\ntotal: bytes",
    ),
    interval_ms: 10_000,
    limits: Some(PERCENT_OR_BYTES),
    settings: &[],
    example: Doc::new("beacons:\n  memory: { above: 95%, for: 2m, remind: 1h }"),
};

const SWAP: BeaconKind = BeaconKind {
    name: "swap",
    doc: Doc::new("How much swap is used. A machine without swap is always well."),
    cost: Doc::new("Reads /proc/meminfo every 30 s."),
    fields: Doc::new(
        "state: `on` or `off`\npercent: of what is used\nused: bytes\nfree: bytes\ntotal: bytes",
    ),
    interval_ms: 30_000,
    limits: Some(Limits { percent: true, plain: true, above: Some("50%") }),
    settings: &[],
    example: Doc::new("beacons:\n  swap: { above: 1GiB }"),
};

const LOAD: BeaconKind = BeaconKind {
    name: "load",
    doc: Doc::new(
        "How many threads run or wait for a processor or a disk, on average. As a percentage it is of the processors: 100% is one for each.",
    ),
    cost: Doc::new("Reads /proc/loadavg every 10 s."),
    fields: Doc::new(
        "state: `on` or `off`\nload: the average that is watched\npercent: of the processors\nover: which average: 1m, 5m or 15m",
    ),
    interval_ms: 10_000,
    limits: Some(Limits { percent: true, plain: true, above: Some("150%") }),
    settings: &[Setting::of(
        "over",
        SettingKind::Word(&["1m", "5m", "15m"]),
        "5m",
        "Which of the kernel's averages.",
    )],
    example: Doc::new("beacons:\n  load: { over: 5m, above: 200%, for: 10m }"),
};

const PSI: BeaconKind = BeaconKind {
    name: "psi",
    doc: Doc::new(
        "Pressure: how much of the last 10 s programs stood still because processors, memory or disks were busy. Kernels without /proc/pressure have none.",
    ),
    cost: Doc::new(
        "Reads up to three small files of /proc/pressure every 10 s, and when the kernel says that programs stand still: it is asked to look every 2 s, or oftener where root asks, while they do.",
    ),
    fields: Doc::new(
        "resource: cpu, memory or io\nstate: `on` or `off`\npercent: of the last 10 s\nkind: `some` (one program at least stood still) or `full` (all)",
    ),
    interval_ms: 10_000,
    limits: Some(Limits { percent: true, plain: false, above: Some("50%") }),
    settings: &[
        Setting::of("resource", SettingKind::Words(PRESSURES), "all three", "Which."),
        Setting::of(
            "kind",
            SettingKind::Word(&["some", "full"]),
            "some",
            "Whether one program that stands still counts, or only when all do.",
        ),
    ],
    example: Doc::new("beacons:\n  psi: { resource: [memory, io], kind: full, above: 10%, for: 30s }"),
};

const TEMPERATURE: BeaconKind = BeaconKind {
    name: "temperature",
    doc: Doc::new(
        "The machine's sensors, in degrees Celsius: those below /sys/class/hwmon, else /sys/class/thermal. A machine without sensors, such as most virtual ones, is always well.",
    ),
    cost: Doc::new("Reads a file for each sensor every 30 s."),
    fields: Doc::new(
        "sensor: `chip label`, such as `coretemp Package id 0`\nstate: `on` or `off`\ncelsius: degrees",
    ),
    interval_ms: 30_000,
    limits: Some(Limits { percent: false, plain: true, above: Some("85") }),
    settings: &[Setting::of(
        "sensor",
        SettingKind::Texts,
        "all",
        "Only sensors whose name has one of these texts in it.",
    )],
    example: Doc::new("beacons:\n  temperature: { sensor: coretemp, above: 85, clear: 75, for: 1m }"),
};

const FILE: BeaconKind = BeaconKind {
    name: "file",
    doc: Doc::new(
        "Files and folders that are made, altered, moved or removed. The folder that a file lies in is watched, so that a file that an editor replaces, or that is not there yet, is watched too. Links on the way to it are followed, also when they are switched to lead elsewhere; links in a folder are not. What is on the network (NFS and the like) is never looked at. What is in a file is never told.",
    ),
    cost: Doc::new("Nothing while nothing changes; a kilobyte of kernel memory for each folder."),
    fields: Doc::new(
        "path: what changed\nchange: create, modify, delete, move or attributes; `rescan` when the kernel lost track and it was looked at again\nfrom: where it was before, if it was moved within what is watched\nfolder: true if it is a folder\nfolders: how many are watched, with `limit` when there are more",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of("path", SettingKind::Paths, "", "Files and folders.").required(),
        Setting::of(
            "mask",
            SettingKind::Words(CHANGES),
            "create, modify, delete, move",
            "Which changes are told.",
        ),
        Setting::of(
            "recursive",
            SettingKind::Flag,
            "false",
            "Whether folders below a folder are watched too, up to `watches`.",
        ),
        Setting::of(
            "watches",
            SettingKind::Count(1, 65_536),
            "4096",
            "Folders that are watched at most; when there are more, an event says so.",
        ),
        Setting::of(
            "match",
            SettingKind::Texts,
            "all",
            "Only names that one of these patterns matches: `*` any text, `?` one character.",
        ),
        Setting::of(
            "ignore",
            SettingKind::Texts,
            "what editors leave: `*.swp`, `*~`, `.#*`, `4913`",
            "Names that do not count.",
        ),
        Setting::of(
            "settle",
            SettingKind::Time(0, 60_000),
            "50ms",
            "Changes of one path within this time are one event.",
        ),
    ],
    example: Doc::new(
        "beacons:\n  file:\n    - path: [/etc/ssh/sshd_config, /etc/nginx]\n      recursive: true\n      mask: [create, modify, delete, move]",
    ),
};

const NETWORK: BeaconKind = BeaconKind {
    name: "network",
    doc: Doc::new(
        "Network interfaces that come up or go down, and addresses that come and go. The kernel tells; one that flaps is told when it holds still.",
    ),
    cost: Doc::new("Nothing while nothing changes."),
    fields: Doc::new(
        "interface: its name\nwhat: `link` or `address`\nstate: `on` (up, or there) or `off`\naddress: with its prefix, for addresses\nflaps: changes since the last event, if there were more than one",
    ),
    interval_ms: 0,
    limits: None,
    settings: &[
        Setting::of(
            "interface",
            SettingKind::Texts,
            "all but `lo`",
            "Only interfaces whose name one of these patterns matches.",
        ),
        Setting::of("ignore", SettingKind::Texts, "`veth*`", "Interfaces that do not count."),
        Setting::of("what", SettingKind::Words(&["link", "address"]), "both", "What is told."),
        Setting::of(
            "settle",
            SettingKind::Time(0, 600_000),
            "2s",
            "How long it must hold still before it is told.",
        ),
    ],
    example: Doc::new("beacons:\n  network: { interface: [eth*, en*], settle: 5s }"),
};
