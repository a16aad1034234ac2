//! `labctl token`: users of dashboards, integrations and remote operators.

use super::{Desk, server, unexpected};
use crate::{
    Ended, Outcome,
    config::write_private,
    failure::{Exit, Failure},
    show::{self, json, time},
};
use clap::{Args, Subcommand, ValueEnum};
use model::{
    Fingerprint, ObserverRole, Reply, Request,
    api::{MasterInfo, ObserverView},
};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct TokenCommand {
    #[command(subcommand)]
    verb: Option<TokenVerb>,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make one; its secret is shown this once
    Create {
        /// User name: a-z, 0-9 and -
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = RoleWord::Viewer)]
        role: RoleWord,
        /// For how long: 30d; without it for ever
        #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
        for_ms: Option<u64>,
    },
    /// All, without secrets
    #[command(alias = "ls")]
    List,
    /// End one
    #[command(aliases = ["remove", "rm"])]
    Revoke {
        /// Its user name
        name: String,
    },
    /// Let an operator's key in (labctl context add … --new-key makes one)
    AddKey {
        /// Name for the audit log
        name: String,
        /// Of the key
        fingerprint: Fingerprint,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleWord {
    /// Read the public topics
    Viewer,
    /// That, and write below lab/in/NAME/
    Integration,
    /// Use the API as an operator
    Operator,
}

impl TokenCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(TokenVerb::List) {
            TokenVerb::Create { name, role, for_ms } => create(desk, name, role, for_ms),
            TokenVerb::List => {
                let reply = desk.ask(&Request::Observers)?;
                let Reply::Observers(observers) = reply else { return Err(unexpected(&reply)) };
                let list = show::status::observers(&observers, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            TokenVerb::Revoke { name } => desk.order(&Request::RemoveObserver { name }),
            TokenVerb::AddKey { name, fingerprint } => {
                desk.order(&Request::AddOperator { name, fingerprint })
            }
        }
    }
}

fn create(desk: &mut Desk<'_>, name: String, role: RoleWord, for_ms: Option<u64>) -> Ended {
    let role = match role {
        RoleWord::Viewer => ObserverRole::Viewer,
        RoleWord::Integration => ObserverRole::Integration,
        RoleWord::Operator => ObserverRole::Operator,
    };
    let info = server::info(desk)?;
    let reply = desk.ask(&Request::CreateObserver { name, role, for_ms })?;
    let Reply::Observer(view) = reply else { return Err(unexpected(&reply)) };
    let secret =
        view.secret.clone().ok_or_else(|| Failure::new(Exit::Failed, "the master gave no secret"))?;
    let try_it = try_it(&info, &view, &secret)?;
    let mut value = json::of(&view);
    value["try"] = try_it.clone().into();
    let text = format!("user    {}\nsecret  {secret}\ntry it  {try_it}\n", view.name);
    desk.screen.thing("Token", value, &view.name, &text)?;
    desk.screen.note("the secret is not shown again: labctl token revoke ends it")?;
    Ok(Exit::Done)
}

/// A line that works as it stands on this machine.
fn try_it(info: &MasterInfo, view: &ObserverView, secret: &str) -> Outcome<String> {
    let address = server::address(info)?;
    let name = &view.name;
    if view.role == ObserverRole::Operator {
        let (pin, port) = (&info.tls_pin, info.https_port);
        return Ok(format!(
            "LABCTL_MASTER=https://{} LABCTL_MASTER_KEY={pin} LABCTL_TOKEN={name}:{secret} labctl status",
            with_port(address, port)
        ));
    }
    let certificate = certificate_file(info)?;
    Ok(format!(
        "mosquitto_sub -h {address} -p {} --cafile {} -u {name} -P {secret} -t 'lab/#' -v",
        info.mqtt_port,
        certificate.display()
    ))
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Where everybody on this machine can read the master's certificate: below /etc as root, else in the own folder.
fn certificate_file(info: &MasterInfo) -> Outcome<PathBuf> {
    let pem = format!("{}\n", info.certificate.trim_end());
    let mut last = None;
    for folder in [PathBuf::from("/etc/labctl"), crate::config::folder()] {
        let path = folder.join(format!("{}-ca.pem", safe(&info.name)));
        if std::fs::read_to_string(&path).is_ok_and(|it| it == pem) {
            return Ok(path);
        }
        if !folder.is_dir() && folder.starts_with("/etc") {
            continue;
        }
        match write_private(&path, &pem).and_then(|()| readable(&path)) {
            Ok(()) => return Ok(path),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new(Exit::Failed, "there is no place for the master's certificate")))
}

/// A certificate is no secret.
fn readable(path: &Path) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
        .map_err(|error| Failure::file("make readable", path, &error))
}

/// A name as a file name: nothing from the network becomes a path.
fn safe(name: &str) -> String {
    let name: String = name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').take(64).collect();
    if name.is_empty() { "master".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_network_do_not_become_paths() {
        assert_eq!(safe("../../etc/passwd"), "etcpasswd");
        assert_eq!(safe("/"), "master");
        assert_eq!(with_port("::1", 1), "[::1]:1");
    }
}
