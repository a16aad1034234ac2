//! `unattended_upgrades`: apt installs security updates by itself.

use crate::{
    Applied, Doc, Error, Examples, Function, Host, Module, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    wanted_file::WantedFile,
};
use model::Plan;
use serde_json::{Map, Value};

pub(crate) const MODULE: Module = Module {
    name: "unattended_upgrades",
    doc: Doc::new("Updates that apt installs by itself (Debian, Ubuntu)."),
    functions: &[
        Function {
            name: "configured",
            doc: Doc::new(
                "The package `unattended-upgrades` is configured like this, in files of its own under `/etc/apt/apt.conf.d` that \
                  come after those of the package: `20auto-upgrades` and `52unattended-upgrades-labctl`. The package itself is \
                  installed by `pkg.installed`.",
            ),
            params: PARAMS,
            examples: Examples::new(&[
                "nightly updates:\n  unattended_upgrades.configured:\n    - mail: root\n    - automatic_reboot: true\n    - \
                 automatic_reboot_time: '04:00'\n    - blacklist: [docker.io, postgresql*]\n",
            ]),
            parse: configured,
        },
        Function {
            name: "disabled",
            doc: Doc::new("Apt installs nothing by itself."),
            params: DISABLED,
            examples: Examples::new(&["no updates:\n  unattended_upgrades.disabled: []\n"]),
            parse: |params| {
                Args::new("unattended_upgrades.disabled", DISABLED, params)?;
                Ok(Box::new(Files(vec![periodic(0, 0, 0, 0)])))
            },
        },
    ],
};

const DISABLED: &[Param] = &[Param::name("Any name for the step.")];
const PARAMS: &[Param] = &[
    DISABLED[0],
    Param::of(
        "update_days",
        ParamType::Integer,
        "1",
        "Fetches the lists of packages every so many days; 0 is never.",
    ),
    Param::of("upgrade_days", ParamType::Integer, "1", "Installs updates every so many days; 0 is never."),
    Param::of(
        "download_days",
        ParamType::Integer,
        "0",
        "Downloads all updates every so many days; 0 is never.",
    ),
    Param::of("clean_days", ParamType::Integer, "0", "Removes old downloads every so many days; 0 is never."),
    Param::of(
        "origins",
        ParamType::TextList,
        "the package's: security updates",
        "From where updates are taken, as `origin=Debian,codename=${distro_codename}-security`.",
    ),
    Param::of("blacklist", ParamType::TextList, "none", "Packages that are left alone, as patterns."),
    Param::of("automatic_reboot", ParamType::Bool, "false", "Restarts the machine where an update needs it."),
    Param::of("automatic_reboot_time", ParamType::Text, "now", "When it does, as `02:00`."),
    Param::of("automatic_reboot_with_users", ParamType::Bool, "true", "Also while people are logged in."),
    Param::of("mail", ParamType::Text, "none", "Who is told."),
    Param::of("mail_report", ParamType::Text, "on-change", "When: `always`, `only-on-error` or `on-change`."),
    Param::of(
        "remove_unused_dependencies",
        ParamType::Bool,
        "false",
        "Removes packages that nothing needs any more.",
    ),
    Param::of("remove_unused_kernels", ParamType::Bool, "true", "Removes old kernels."),
    Param::of("minimal_steps", ParamType::Bool, "true", "In small steps, so that it can be interrupted."),
    Param::of("on_shutdown", ParamType::Bool, "false", "Installs updates when the machine shuts down."),
];

/// Most days between two times.
const DAYS_MAX: i64 = 365;

fn periodic(update: i64, upgrade: i64, download: i64, clean: i64) -> WantedFile {
    let lines = [
        ("Update-Package-Lists", update),
        ("Download-Upgradeable-Packages", download),
        ("AutocleanInterval", clean),
        ("Unattended-Upgrade", upgrade),
    ];
    let text = lines
        .iter()
        .fold(String::new(), |all, (key, days)| all + &format!("APT::Periodic::{key} \"{days}\";\n"));
    WantedFile::public("/etc/apt/apt.conf.d/20auto-upgrades", text)
}

#[derive(Debug)]
struct Files(Vec<WantedFile>);

fn configured(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("unattended_upgrades.configured", PARAMS, params)?;
    let days = |param: &str, default: i64| match args.number(param).unwrap_or(default) {
        it if (0..=DAYS_MAX).contains(&it) => Ok(it),
        _ => Err(invalid(param, format!("`{param}` must be 0 to {DAYS_MAX} days"))),
    };
    let first = periodic(
        days("update_days", 1)?,
        days("upgrade_days", 1)?,
        days("download_days", 0)?,
        days("clean_days", 0)?,
    );
    let second = WantedFile::public("/etc/apt/apt.conf.d/52unattended-upgrades-labctl", settings(&args)?);
    Ok(Box::new(Files(vec![first, second])))
}

fn quoted(param: &str, text: &str) -> Result<String, ParamsError> {
    if text.is_empty() || text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        return Err(invalid(param, format!("`{param}` must be one line without quotes")));
    }
    Ok(format!("\"{text}\""))
}

fn settings(args: &Args<'_>) -> Result<String, ParamsError> {
    let mut text = String::from("// Made by labctl: changes here are lost.\n");
    let mut add = |lines: String| text.push_str(&lines);
    for (param, key) in [("origins", "Origins-Pattern"), ("blacklist", "Package-Blacklist")] {
        let Some(items) = args.list(param) else { continue };
        add(format!("#clear Unattended-Upgrade::{key};\nUnattended-Upgrade::{key} {{\n"));
        for it in items {
            add(format!("\t{};\n", quoted(param, &it)?));
        }
        add("};\n".to_owned());
    }
    let flags = [
        ("automatic_reboot", "Automatic-Reboot"),
        ("automatic_reboot_with_users", "Automatic-Reboot-WithUsers"),
        ("remove_unused_dependencies", "Remove-Unused-Dependencies"),
        ("remove_unused_kernels", "Remove-Unused-Kernel-Packages"),
        ("minimal_steps", "MinimalSteps"),
        ("on_shutdown", "InstallOnShutdown"),
    ];
    for (param, key) in flags.into_iter().filter(|it| args.has(it.0)) {
        add(format!("Unattended-Upgrade::{key} \"{}\";\n", args.bool(param, false)));
    }
    let words =
        [("automatic_reboot_time", "Automatic-Reboot-Time"), ("mail", "Mail"), ("mail_report", "MailReport")];
    for (param, key) in words {
        if let Some(value) = args.text(param) {
            add(format!("Unattended-Upgrade::{key} {};\n", quoted(param, &value)?));
        }
    }
    Ok(text)
}

impl Resource for Files {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for file in &self.0 {
            file.compare(&file.path.display().to_string(), host, &mut plan)?;
        }
        Ok(plan)
    }
    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        self.0.iter().try_for_each(|it| it.write(host))?;
        Ok(Applied::default())
    }
}
