//! `labctl token`: users of dashboards, integrations and remote operators.

use super::{Desk, server, unexpected};
use crate::{
    Ended, Outcome,
    config::write_private,
    failure::{Exit, Failure},
    show::{self, json, time},
};
use clap::{Args, Subcommand};
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
        /// What it may do: viewer and integration are for MQTT; operator, admin and the roles of roles.yaml for the API
        #[arg(long, default_value = "viewer")]
        role: String,
        /// For how long: 30d; without it 90 days for the API, and for ever for MQTT
        #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
        for_ms: Option<u64>,
    },
    /// Users, tokens and operators' keys, without secrets, with when they end
    #[command(alias = "ls")]
    List,
    /// End one
    #[command(aliases = ["remove", "rm"])]
    Revoke {
        /// Its user name
        name: String,
        /// The token, where a token and an operator's key have that name; with --key both
        #[arg(long)]
        token: bool,
        /// The operator's key
        #[arg(long)]
        key: bool,
    },
    /// Let an operator's key in (labctl context add … --new-key makes one)
    AddKey {
        /// Name for the audit log
        name: String,
        /// Of the key
        fingerprint: Fingerprint,
        /// What it may do
        #[arg(long, default_value = "operator")]
        role: String,
        /// For how long: 30d; without it 90 days
        #[arg(long = "for", value_name = "D", value_parser = time::parse_duration)]
        for_ms: Option<u64>,
    },
}

impl TokenCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(TokenVerb::List) {
            TokenVerb::Create { name, role, for_ms } => create(desk, name, &role, for_ms),
            TokenVerb::List => list(desk),
            TokenVerb::Revoke { name, token, key } => revoke(desk, name, (token, key)),
            TokenVerb::AddKey { name, fingerprint, role, for_ms } => {
                desk.order(&Request::AddOperator { name, fingerprint, role: Some(role), for_ms })
            }
        }
    }
}

fn list(desk: &mut Desk<'_>) -> Ended {
    let reply = desk.ask(&Request::Observers)?;
    let Reply::Observers(observers) = reply else { return Err(unexpected(&reply)) };
    let reply = desk.ask(&Request::Operators)?;
    let Reply::Operators(keys) = reply else { return Err(unexpected(&reply)) };
    let list = show::status::observers(&observers, &keys, &desk.screen.style);
    desk.screen.list(list)?;
    Ok(Exit::Done)
}

/// A user's token or an operator's key: of the two whichever there is. Where both have the name, nothing is ended until
/// it is said which: the key may be the one by which this is asked.
fn revoke(desk: &mut Desk<'_>, name: String, (token, key): (bool, bool)) -> Ended {
    if !token && !key && has_both(desk, &name)? {
        let what = format!("a token and an operator's key have the name {name}: nothing was ended");
        return Err(Failure::usage(what).hint("add --token, --key or both"));
    }
    if token && key {
        desk.ask(&Request::RemoveObserver { name: name.clone() })?;
        desk.screen.note(&format!("the token of {name} opens nothing any more"))?;
    }
    if key {
        return desk.order(&Request::RemoveOperator { name });
    }
    match desk.order(&Request::RemoveObserver { name: name.clone() }) {
        Err(failure) if !token && failure.exit == Exit::NotFound => {
            desk.order(&Request::RemoveOperator { name })
        }
        ended => ended,
    }
}

/// Who may end things but not list them is told by the master what is left.
fn has_both(desk: &mut Desk<'_>, name: &str) -> Outcome<bool> {
    let tokens = match desk.ask(&Request::Observers) {
        Ok(Reply::Observers(tokens)) => tokens,
        Ok(other) => return Err(unexpected(&other)),
        Err(failure) if failure.exit == Exit::Forbidden => return Ok(false),
        Err(failure) => return Err(failure),
    };
    if !tokens.iter().any(|it| it.name == name) {
        return Ok(false);
    }
    match desk.ask(&Request::Operators)? {
        Reply::Operators(keys) => Ok(keys.iter().any(|it| it.name == name)),
        other => Err(unexpected(&other)),
    }
}

fn create(desk: &mut Desk<'_>, name: String, role: &str, for_ms: Option<u64>) -> Ended {
    let role = ObserverRole::of_name(role);
    let info = server::info(desk)?;
    let reply = desk.ask(&Request::CreateObserver { name, role, for_ms })?;
    let Reply::Observer(view) = reply else { return Err(unexpected(&reply)) };
    let secret =
        view.secret.clone().ok_or_else(|| Failure::new(Exit::Failed, "the master gave no secret"))?;
    let secret = secret.reveal();
    let try_it = try_it(&info, &view, secret)?;
    let mut value = json::of(&view);
    value["try"] = try_it.clone().into();
    let ends =
        view.expires.map_or_else(|| "never".to_owned(), |it| time::absolute(it, desk.screen.style.time));
    let text = format!("user    {}\nsecret  {secret}\nends    {ends}\ntry it  {try_it}\n", view.name);
    desk.screen.thing("Token", value, &view.name, &text)?;
    desk.screen.note("the secret is not shown again: labctl token revoke ends it")?;
    Ok(Exit::Done)
}

/// A line that works as it stands on this machine.
fn try_it(info: &MasterInfo, view: &ObserverView, secret: &str) -> Outcome<String> {
    let address = server::address(info)?;
    let name = &view.name;
    if !view.role.is_of_observers() {
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

pub(crate) fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Where everybody on this machine can read the master's certificate: below /etc as root, else in the own folder.
pub(crate) fn certificate_file(info: &MasterInfo) -> Outcome<PathBuf> {
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
