//! `labctl hook`: webhooks of the master, by which other programs put events on its bus.

use super::{Desk, server, token, unexpected};
use crate::{
    Ended, Outcome,
    failure::{Exit, Failure},
    show::{self, json},
};
use clap::{Args, Subcommand};
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

const EXAMPLES: &str = "\
Examples:
  labctl hook test ci                              a payload as senders of its recipe send it
  labctl hook test ci --body push.json             one that you saved
  labctl hook test ci --kind release --body -      of another kind, from standard input

Nothing is sent and no rule sees it: it shows the events that rules would see.";

#[derive(Debug, Subcommand)]
enum HookVerb {
    /// Those of hooks.yaml, with how they are used
    #[command(alias = "ls")]
    List,
    /// What a hook makes of a payload; nothing happens
    #[command(after_help = EXAMPLES)]
    Test {
        /// Its name in hooks.yaml
        name: String,
        /// The payload, as JSON; - is standard input
        #[arg(long, value_name = "FILE")]
        body: Option<PathBuf>,
        /// What its sender calls it: push, `pull_request`, release
        #[arg(long)]
        kind: Option<String>,
    },
    /// Make a secret; it is shown this once, with the URL to paste and a line to try it
    Secret {
        /// Its name in hooks.yaml
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
    let mut text = String::new();
    let read = std::io::stdin().take(BODY_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::file("read", path, &error))?;
    Ok(text)
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
    let info = server::info(desk)?;
    let reply = desk.ask(&Request::MakeHookSecret { hook: name, alone: only })?;
    let Reply::HookSecret(made) = reply else { return Err(unexpected(&reply)) };
    let host = token::with_port(server::address(&info)?, info.https_port);
    let url = format!("https://{host}/hook/{}", made.hook);
    let certificate = token::certificate_file(&info)?;
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

/// Lines for a shell; the body says nothing that a rule would act on.
fn example(made: &HookSecret, url: &str, certificate: &str) -> String {
    let head = format!("  SECRET='{}' BODY='{}'\n", made.secret.reveal(), body(&made.recipe));
    let mac =
        |text: &str| format!("  MAC=$({text} | openssl dgst -sha256 -hmac \"$SECRET\" | sed 's/.* //')\n");
    let body = "printf %s \"$BODY\"";
    let (sign, header) = match made.recipe.as_str() {
        "github" => (mac(body), "X-Hub-Signature-256: sha256=$MAC".to_owned()),
        "gitea" => (mac(body), "X-Gitea-Signature: $MAC".to_owned()),
        "gitlab" => (String::new(), "X-Gitlab-Token: $SECRET".to_owned()),
        "alertmanager" | "uptime-kuma" => (String::new(), "Authorization: Bearer $SECRET".to_owned()),
        _ => {
            let sign = mac("printf %s \"$NOW.$BODY\"");
            (format!("  NOW=$(date +%s)\n{sign}"), "X-Lab-Signature: t=$NOW,v1=$MAC".to_owned())
        }
    };
    format!(
        "{head}{sign}  curl --cacert {certificate} -H 'Content-Type: application/json' -H \"{header}\" -d \"$BODY\" {url}\n"
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
            serde_json::from_str::<serde_json::Value>(body(recipe)).unwrap();
        }
    }
}
