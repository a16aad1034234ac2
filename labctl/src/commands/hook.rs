//! `labctl hook`: webhooks of the master, by which other programs put events on its bus.

use super::{Desk, server, token, unexpected};
use crate::{
    Ended, Outcome, complete,
    failure::{Exit, Failure},
    show::{self, json},
};
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use model::{
    Reply, Request,
    api::{HookSecret, HookTrial},
};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of a payload that a hook is tried with.
const BODY_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct HookCommand {
    #[command(subcommand)]
    verb: Option<HookVerb>,
}

/// The HMAC of what comes in, with the key in the environment: openssl takes it as an argument only.
const HMAC: &str = "import hashlib, hmac, os, sys; \
print(hmac.new(os.environ[\"SECRET\"].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest())";

const EXAMPLES: &str = "\
Examples:
  labctl hook test ci                              a payload as senders of its recipe send it
  labctl hook test ci --body push.json             one that you saved
  labctl hook test ci --kind release --body -      of another kind, from standard input

Nothing is sent and no rule sees it: it shows the events that rules would see.";

const SECRET_EXAMPLES: &str = "\
Examples:
  labctl hook secret ci            the one before it is good until the next is made
  labctl hook secret ci --only     the one before it ends at once";

#[derive(Debug, Subcommand)]
enum HookVerb {
    /// Those of hooks.yaml, with how they are used
    #[command(alias = "ls")]
    List,
    /// What a hook makes of a payload; nothing happens
    #[command(after_help = EXAMPLES)]
    Test {
        /// Its name in hooks.yaml
        #[arg(add = ArgValueCompleter::new(complete::hooks))]
        name: String,
        /// The payload, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// What its sender calls it: push, `pull_request`, release
        #[arg(long)]
        kind: Option<String>,
    },
    /// Make a secret; it is shown this once, with the URL to paste and a line to try it
    #[command(after_help = SECRET_EXAMPLES)]
    Secret {
        /// Its name in hooks.yaml
        #[arg(add = ArgValueCompleter::new(complete::hooks))]
        name: String,
        /// End the secret before it at once; else that one is good until the next is made
        #[arg(long)]
        only: bool,
    },
}

impl HookCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        match self.verb.unwrap_or(HookVerb::List) {
            HookVerb::List => {
                let reply = desk.ask(&Request::Hooks)?;
                let Reply::Hooks(hooks) = reply else { return Err(unexpected(&reply)) };
                let list = show::hooks::list(&hooks, &desk.screen.style);
                desk.screen.list(list)?;
                Ok(Exit::Done)
            }
            HookVerb::Test { name, body, kind } => {
                let body = body.as_deref().map(read).transpose()?;
                test(desk, HookTrial { hook: name, kind, body })
            }
            HookVerb::Secret { name, only } => secret(desk, name, only),
        }
    }
}

fn read(path: &Path) -> Outcome<String> {
    if path.as_os_str() != "-" {
        return crate::config::read_small(path);
    }
    whole(std::io::stdin(), path)
}

/// All of a payload, unless it is longer than any hook takes.
fn whole(from: impl Read, path: &Path) -> Outcome<String> {
    let mut bytes = Vec::new();
    let read = from.take(BODY_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file("read", path, &error))?;
    if bytes.len() as u64 > BODY_MAX {
        return Err(Failure::usage(format!(
            "the payload is longer than {BODY_MAX} bytes: no hook takes that"
        )));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("the payload is no UTF-8 text"))
}

fn test(desk: &mut Desk<'_>, trial: HookTrial) -> Ended {
    let reply = desk.ask(&Request::TryHook { trial })?;
    let Reply::Events(events) = reply else { return Err(unexpected(&reply)) };
    let items: Vec<_> =
        events.iter().map(|it| serde_json::json!({ "tag": it.tag, "data": it.data })).collect();
    let texts: Vec<String> = items.iter().map(|it| format!("---\n{}", show::yaml::of(it))).collect();
    desk.screen.thing("HookTest", serde_json::json!({ "items": items }), "", &texts.concat())?;
    if !desk.screen.format.is_machine() {
        desk.screen.note("nothing happened: this is what rules would see")?;
    }
    Ok(Exit::Done)
}

fn secret(desk: &mut Desk<'_>, name: String, only: bool) -> Ended {
    // All that can fail comes first: a secret that was made and not shown would have ended the one before.
    let info = server::info(desk)?;
    let host = token::with_port(server::address(&info)?, info.https_port);
    let url = format!("https://{host}/hook/{name}");
    let certificate = token::certificate_file(&info)?;
    let reply = desk.ask(&Request::MakeHookSecret { hook: name, alone: only })?;
    let Reply::HookSecret(made) = reply else { return Err(unexpected(&reply)) };
    let example = example(&made, &url, &certificate.display().to_string());
    let mut value = json::of(&made);
    value["url"] = url.clone().into();
    value["try"] = example.clone().into();
    let text = format!(
        "hook    {}\nurl     {url}\nsecret  {}\n{}\ntry it:\n{example}",
        made.hook,
        made.secret.reveal(),
        paste(&made.recipe)
    );
    desk.screen.thing("HookSecret", value, &made.hook, &text)?;
    let before = if only {
        "none before it is good any more"
    } else {
        "the one before it is good until the next is made"
    };
    desk.screen.note(&format!("the secret is not shown again; {before}"))?;
    Ok(Exit::Done)
}

/// Where its senders want to have it.
fn paste(recipe: &str) -> &'static str {
    match recipe {
        "github" => {
            "paste   repository, Settings, Webhooks: Payload URL, Content type application/json, Secret"
        }
        "gitea" => {
            "paste   repository, Settings, Webhooks: Target URL, POST content type application/json, Secret"
        }
        "gitlab" => "paste   project, Settings, Webhooks: URL, Secret token",
        "alertmanager" => "paste   webhook_configs: url, http_config.authorization.credentials_file",
        "uptime-kuma" => {
            "paste   notification Webhook: Post URL, application/json, additional header Authorization"
        }
        _ => "sign    X-Lab-Signature: t=SECONDS,v1=HEX, the HMAC-SHA256 of `SECONDS.BODY`",
    }
}

/// Lines for a shell; the body says nothing that a rule would act on. The secret is an argument of no program: others on
/// the machine see those.
fn example(made: &HookSecret, url: &str, certificate: &str) -> String {
    let head = format!("  SECRET='{}' BODY='{}'\n", made.secret.reveal(), body(&made.recipe));
    let mac = |text: &str| format!("  MAC=$({text} | SECRET=\"$SECRET\" python3 -c '{HMAC}')\n");
    let signed = |text: &str, header: &str| (mac(text), format!("printf '%s\\n' \"{header}\""));
    let told = |header: &str| (String::new(), format!("printf '%s\\n' \"{header}\""));
    let body = "printf %s \"$BODY\"";
    let (sign, header) = match made.recipe.as_str() {
        "github" => signed(body, "X-Hub-Signature-256: sha256=$MAC"),
        "gitea" => signed(body, "X-Gitea-Signature: $MAC"),
        "gitlab" => told("X-Gitlab-Token: $SECRET"),
        "alertmanager" | "uptime-kuma" => told("Authorization: Bearer $SECRET"),
        _ => {
            let (sign, header) = signed("printf %s \"$NOW.$BODY\"", "X-Lab-Signature: t=$NOW,v1=$MAC");
            (format!("  NOW=$(date +%s)\n{sign}"), header)
        }
    };
    format!(
        "{head}{sign}  {header} | curl --cacert {certificate} -H @- -H 'Content-Type: application/json' -d \"$BODY\" {url}\n"
    )
}

fn body(recipe: &str) -> &'static str {
    match recipe {
        "alertmanager" => r#"{"alerts":[{"status":"test","labels":{"alertname":"Hello"}}]}"#,
        "uptime-kuma" => r#"{"heartbeat":null,"monitor":null,"msg":"hello"}"#,
        _ => r#"{"hello":"labctl"}"#,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Secret;

    #[test]
    fn a_payload_is_whole_or_refused() {
        let read = |bytes: usize| whole(std::io::repeat(b'a').take(bytes as u64), Path::new("-"));
        assert_eq!(read(1 << 20).map(|it| it.len()), Ok(1 << 20));
        assert!(read((1 << 20) + 1).unwrap_err().message.contains("longer than"));
    }

    #[test]
    fn every_recipe_has_lines_that_a_shell_understands() {
        for recipe in ["generic", "gitea", "github", "gitlab", "alertmanager", "uptime-kuma"] {
            let made = HookSecret {
                hook: "ci".into(),
                recipe: recipe.into(),
                secret: Secret::new("0123456789abcdef"),
            };
            let text = example(&made, "https://master.lab:8443/hook/ci", "/etc/labctl/lab-ca.pem");
            let checked = std::process::Command::new("sh").args(["-n", "-c", &text]).status().unwrap();
            assert!(checked.success(), "{text}");
            // Words of the shell itself may say it, and what a program is given in its environment.
            let others =
                text.lines().skip(1).flat_map(|it| it.split(['|', '('])).filter(|it| it.contains("$SECRET"));
            for command in others {
                let command = command.trim();
                let good =
                    command.starts_with("printf ") || command.starts_with("SECRET=\"$SECRET\" python3 ");
                assert!(good, "{command}");
            }
            serde_json::from_str::<serde_json::Value>(body(recipe)).unwrap();
        }
    }
}
