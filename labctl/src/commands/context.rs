//! `labctl context`: which masters there are to talk to.

use super::Desk;
use crate::{
    Ended, Outcome,
    config::{self, Config, Context, write_private},
    failure::{Exit, Failure},
    show::{self, Tone, json, table},
};
use bus::Identity;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct ContextCommand {
    #[command(subcommand)]
    verb: Option<ContextVerb>,
}

#[derive(Debug, Subcommand)]
enum ContextVerb {
    /// All; the one in use has a star
    #[command(alias = "ls")]
    List,
    /// Use another one from now on
    Use {
        /// Its name
        name: String,
    },
    /// Add one; the first is used at once
    Add(Add),
    /// One in full
    #[command(aliases = ["get", "describe"])]
    Show {
        /// Its name; none is the one in use
        name: Option<String>,
    },
    /// Forget one
    #[command(alias = "rm")]
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// A name for it
    name: String,
    /// <https://HOST:8443>, or <unix:///run/labmaster/api.sock>
    url: String,
    /// Hash of the master's key: `labctl master cert -o name` prints it there
    #[arg(long, value_name = "HEX")]
    pin: Option<String>,
    /// File that holds NAME:SECRET of a token; - reads it here and keeps it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["key", "new_key"])]
    token_file: Option<PathBuf>,
    /// Operator's key to log in with
    #[arg(long, value_name = "PATH", conflicts_with = "new_key")]
    key: Option<PathBuf>,
    /// Make an operator's key to log in with
    #[arg(long)]
    new_key: bool,
}

impl ContextCommand {
    pub(crate) fn run(self, desk: &mut Desk<'_>) -> Ended {
        let path = config::path(&desk.global);
        let mut config = Config::read(&path)?;
        match self.verb.unwrap_or(ContextVerb::List) {
            ContextVerb::List => list(desk, &config),
            ContextVerb::Show { name } => show_one(desk, &config, name),
            ContextVerb::Use { name } => {
                config.get(&name)?;
                desk.screen.note(&format!("using {name}"))?;
                config.current = Some(name);
                config.write(&path).map(|()| Exit::Done)
            }
            ContextVerb::Add(add) => {
                let name = add.name.clone();
                let context = add.context(desk)?;
                context.place(None)?;
                config.contexts.insert(name.clone(), context);
                config.current.get_or_insert_with(|| name.clone());
                config.write(&path)?;
                desk.screen.note(&format!("added {name}; try: labctl -c {name} status"))?;
                Ok(Exit::Done)
            }
            ContextVerb::Remove { name } => {
                config.get(&name)?;
                config.contexts.remove(&name);
                config.current = config.current.filter(|it| *it != name);
                config.write(&path).map(|()| Exit::Done)
            }
        }
    }
}

fn list(desk: &mut Desk<'_>, config: &Config) -> Ended {
    let mut table = table::Table::new(["", "NAME", "URL", "LOGIN"].map(table::Column::new));
    for (name, context) in &config.contexts {
        let star = if config.current.as_ref() == Some(name) { "*" } else { " " };
        table.row([
            star.into(),
            table::Cell::of(Tone::Strong, name.as_str()),
            context.url.as_str().into(),
            login(context).into(),
        ]);
    }
    let item = |(name, context): (&String, &Context)| {
        let mut item = json::of(context);
        item["name"] = name.as_str().into();
        item["current"] = (config.current.as_ref() == Some(name)).into();
        item
    };
    desk.screen.list(show::List {
        kind: "ContextList",
        table,
        items: config.contexts.iter().map(item).collect(),
        names: config.contexts.keys().cloned().collect(),
        footer: None,
    })?;
    Ok(Exit::Done)
}

fn login(context: &Context) -> &'static str {
    match (&context.token_file, &context.key) {
        (Some(_), _) => "token",
        (None, Some(_)) => "key",
        (None, None) => "-",
    }
}

fn show_one(desk: &mut Desk<'_>, config: &Config, name: Option<String>) -> Ended {
    let name = name.or_else(|| config.current.clone());
    let name = name.ok_or_else(|| {
        Failure::not_found("no context is in use").hint("labctl context add NAME URL --pin PIN")
    })?;
    let value = json::of(config.get(&name)?);
    let text = format!("name: {name}\n{}", show::yaml::of(&value));
    desk.screen.thing("Context", value, &name, &text)?;
    Ok(Exit::Done)
}

impl Add {
    fn context(self, desk: &mut Desk<'_>) -> Outcome<Context> {
        let plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return Err(Failure::usage(format!(
                "`{}` is no good name: use letters, digits, - and _",
                self.name
            )));
        }
        let token_file = match self.token_file {
            Some(path) if path.as_os_str() == "-" => Some(kept_token(&self.name)?),
            Some(path) => Some(absolute(&path)?),
            None => None,
        };
        let mut key = self.key.as_deref().map(absolute).transpose()?;
        if self.new_key {
            let path = config::folder().join("keys").join(format!("{}.pem", self.name));
            let (folder, stem) = config::folder_and_name(&path)?;
            std::fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))?;
            let identity = Identity::load_or_create(folder, stem)
                .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            let print = identity.public().fingerprint();
            desk.screen.line(print.as_str())?;
            desk.screen
                .note(&format!("let it in, on the master: labctl token add-key {} {print}", self.name))?;
            key = Some(path);
        }
        Ok(Context { url: self.url, pin: self.pin, token_file, key })
    }
}

fn absolute(path: &std::path::Path) -> Outcome<PathBuf> {
    std::fs::canonicalize(path).map_err(|error| Failure::file("read", path, &error))
}

fn kept_token(name: &str) -> Outcome<PathBuf> {
    let mut token = String::new();
    std::io::stdin().read_line(&mut token).map_err(Failure::from)?;
    if !token.trim().contains(':') {
        return Err(Failure::usage("a token is NAME:SECRET"));
    }
    let path = config::folder().join("tokens").join(name);
    write_private(&path, &token)?;
    Ok(path)
}
