//! `OpenRC`'s services: what rc-service and rc-update are asked, and what their answers mean. Pure; a host runs them.

use crate::host::{Command, Exit, Unit, UnitAction};

/// Longest that a look may take, and an alteration.
const LOOK_TIMEOUT_MS: u64 = 30_000;
const ALTER_TIMEOUT_MS: u64 = 300_000;
/// Where services start that say nothing else.
const RUNLEVEL: &str = "default";
/// The program that shows that `OpenRC` is here.
pub const PROGRAM: &str = "/sbin/rc-service";

fn command(argv: &[&str], timeout_ms: u64) -> Command {
    Command { argv: argv.iter().map(|it| (*it).to_owned()).collect(), timeout_ms, ..Command::default() }
}

/// Asks for its status, its runlevels and its description, in this order.
pub fn questions(name: &str) -> [Command; 3] {
    [
        command(&["rc-service", "--", name, "status"], LOOK_TIMEOUT_MS),
        command(&["rc-update", "show"], LOOK_TIMEOUT_MS),
        command(&["rc-service", "--", name, "describe"], LOOK_TIMEOUT_MS),
    ]
}

/// What the answers mean: how the first one ended and what it said, and what the others said.
pub fn unit(name: &str, status: Exit, said: &str, runlevels: &str, description: &str) -> Unit {
    if said.contains("does not exist") {
        return Unit { active: Some("inactive".to_owned()), ..Unit::default() };
    }
    let active = match status {
        Exit::Code(0) => "active",
        Exit::Code(8) => "activating",
        Exit::Code(32) => "failed",
        _ => "inactive",
    };
    let enabled = if levels(runlevels, name).is_empty() { "disabled" } else { "enabled" };
    Unit {
        found: true,
        active: Some(active.to_owned()),
        enabled: enabled.to_owned(),
        can_reload: description.lines().any(|it| it.trim_start_matches([' ', '*']).starts_with("reload:")),
        stale: false,
    }
}

/// The runlevels that a service is in: ` name | boot default`.
fn levels<'a>(runlevels: &'a str, name: &str) -> Vec<&'a str> {
    let row = runlevels.lines().filter_map(|it| it.split_once('|')).find(|(it, _)| it.trim() == name);
    row.map(|(_, levels)| levels.split_whitespace().collect()).unwrap_or_default()
}

/// The commands of an action; none if `OpenRC` has nothing of the kind. `runlevels` is what `rc-update show` says.
pub fn commands(name: &str, action: UnitAction, runlevels: &str) -> Option<Vec<Command>> {
    Some(match action {
        UnitAction::Start | UnitAction::StartSoon => service(name, "start"),
        UnitAction::Stop | UnitAction::StopSoon => service(name, "stop"),
        UnitAction::Restart | UnitAction::RestartSoon => service(name, "restart"),
        UnitAction::Reload | UnitAction::ReloadSoon => service(name, "reload"),
        UnitAction::Enable => vec![command(&["rc-update", "add", name, RUNLEVEL], ALTER_TIMEOUT_MS)],
        UnitAction::Disable => {
            let one = |level: &&str| command(&["rc-update", "del", name, level], ALTER_TIMEOUT_MS);
            levels(runlevels, name).iter().map(one).collect()
        }
        UnitAction::DaemonReload => Vec::new(),
        UnitAction::Mask | UnitAction::MaskRuntime | UnitAction::Unmask | UnitAction::UnmaskRuntime => {
            return None;
        }
    })
}

fn service(name: &str, verb: &str) -> Vec<Command> {
    vec![command(&["rc-service", "--", name, verb], ALTER_TIMEOUT_MS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    // From OpenRC 0.45.2.
    const SHOW: &str = "                 labd |      default                 \n           bootmisc | boot                         \n";
    const DESCRIBE: &str = " * A test\n * healthcheck: no description\n * reload: Reads it again\n * cgroup_cleanup: Kill all \
                            processes in the cgroup\n";

    #[test]
    fn answers_of_openrc_are_understood() {
        let it = unit("labd", Exit::Code(3), " * status: stopped\n", SHOW, DESCRIBE);
        assert!(it.found && it.can_reload);
        assert_eq!((it.active.as_deref(), it.enabled.as_str()), (Some("inactive"), "enabled"));
        let it = unit("other", Exit::Code(0), " * status: started\n", SHOW, " * Another\n");
        assert_eq!(
            (it.active.as_deref(), it.enabled.as_str(), it.can_reload),
            (Some("active"), "disabled", false)
        );
        let it = unit("crashed", Exit::Code(32), " * status: crashed\n", SHOW, "");
        assert_eq!(it.active.as_deref(), Some("failed"));
        let said = " * rc-service: service `nope' does not exist\n";
        assert!(!unit("nope", Exit::Code(1), said, SHOW, "").found);
    }

    #[test]
    fn a_service_leaves_all_its_runlevels() {
        let said = |name: &str, action| {
            let commands = commands(name, action, SHOW);
            commands.map(|it| it.iter().map(|it| it.argv.join(" ")).collect::<Vec<_>>().join("; "))
        };
        assert_eq!(said("labd", UnitAction::Enable).as_deref(), Some("rc-update add labd default"));
        assert_eq!(said("bootmisc", UnitAction::Disable).as_deref(), Some("rc-update del bootmisc boot"));
        assert_eq!(said("labd", UnitAction::ReloadSoon).as_deref(), Some("rc-service -- labd reload"));
        assert_eq!(said("labd", UnitAction::Mask), None);
    }
}
