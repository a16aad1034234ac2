//! `./dev demo`: a master and five sandbox minions on this machine (`--real`: three booted Debian hosts), the main job
//! as a user types it. In a pipe it ends by itself; on a terminal it stays until Ctrl-C. It cleans up after itself.

use std::{
    fs,
    io::{IsTerminal, Write, stdout},
    path::Path,
    process::{Command, ExitCode},
};
use tests::{
    hosts::{Bridge, Host},
    lab::{LIMIT, Lab, find},
    program, project, roots_missing, wait,
};

const USAGE: &str = "usage: ./dev demo [--real]

  a master and five sandbox minions on this machine: enrol, apply, watch, dashboard
  on a terminal it stays until Ctrl-C, in a pipe it ends by itself; it cleans up after itself

  --real   three booted Debian hosts instead of sandboxes; needs root";
const SANDBOXES: usize = 5;
const REAL_HOSTS: u8 = 3;
const REAL_LIMIT: std::time::Duration = std::time::Duration::from_mins(5);

fn main() -> ExitCode {
    let real = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--real") => true,
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("error: `{other}` is no option of the demo\n  help: ./dev demo --help");
            return ExitCode::from(2);
        }
    };
    if let Some(reason) = roots_missing().filter(|_| real) {
        eprintln!("error: the demo with real hosts {reason}\n  help: run it as root, or run ./dev demo");
        return ExitCode::from(2);
    }
    let good = if real { with_real_hosts() } else { with_sandboxes() };
    ExitCode::from(u8::from(!good))
}

fn with_sandboxes() -> bool {
    title("a master with its embedded broker: labmaster init && labmaster run");
    let mut lab = Lab::prepare();
    shipped_tree(&lab);
    lab.start_master();
    title(
        "what a VM image is given: labctl key enroll --ids 'vm-*' --uses 5 --for 1d --label role=web > seed.json",
    );
    let seed = lab.seed("vm-*", &["--uses", "5", "--label", "role=web"]);
    title("five minions boot for the first time: labminion run --seed seed.json --sandbox DIR");
    let ids: Vec<String> = (1..=SANDBOXES).map(|number| format!("vm-{number}")).collect();
    for id in &ids {
        lab.launch(id, &seed);
    }
    for id in &ids {
        lab.wait_up(id);
    }
    title("nobody typed anything: the rule in reactors/new-machines.yaml applies what top.sls assigns");
    configured(&lab, &ids, LIMIT);
    let good = tour(&lab, &["vm-1", "vm-2"], &lab.on_minion("vm-2", "/srv/www/index.html"));
    stay(&lab);
    good
}

fn with_real_hosts() -> bool {
    title("a bridge, and a master in a namespace of its own");
    let mut bridge = Bridge::new();
    let mut lab = Lab::prepare_on("10.77.0.1", &bridge.attach(1));
    shipped_tree(&lab);
    lab.start_master();
    let seed = lab.seed("vm-*", &["--uses", "3", "--label", "role=web"]);
    title("three Debian images get the minion and a seed: labctl image install --root DIR --seed seed.json");
    let mut ids = Vec::new();
    let mut hosts = Vec::new();
    for number in 2..2 + REAL_HOSTS {
        let id = format!("vm-{number}");
        let mut host = Host::prepare(&id);
        let (root, minion) = (host.root(), program("labminion"));
        let arguments =
            ["image", "install", "--root", &text(&root), "--seed", &text(&seed), "--minion", &text(&minion)];
        lab.labctl(&arguments).expect(0);
        host.boot(Some(&bridge.attach(number)));
        ids.push(id);
        hosts.push(host);
    }
    title("they boot, enrol, and are configured with real apt, users and units");
    configured(&lab, &ids, REAL_LIMIT);
    let good = tour(&lab, &["vm-2", "vm-3"], &hosts[0].root().join("srv/www/index.html"));
    stay(&lab);
    good
}

/// What one types next: look, break something, see it planned, mend it.
fn tour(lab: &Lab, two: &[&str], page: &Path) -> bool {
    let mut good = true;
    good &= show(lab, &["minion", "list"], 0);
    good &= show(lab, &["job", "list"], 0);
    good &= show(lab, &["target", "vm-*", "ping"], 0);
    good &= show(lab, &["target", "vm-*", "apply", "web"], 0);
    title("someone breaks a file by hand");
    fs::write(page, "broken by hand\n").expect("the demo's own folder can be written");
    let pair = two.join(",");
    good &= show(lab, &["target", &pair, "plan", "web"], 0);
    good &= show(lab, &["target", "vm-*", "apply", "web"], 0);
    good &= show(lab, &["target", "@web", "run", "--", "echo", "hello from here"], 0);
    good &= show(lab, &["status"], 0);
    good
}

fn shipped_tree(lab: &Lab) {
    for tree in ["states", "pillar", "reactors"] {
        let to = lab.root().join("srv/labctl").join(tree);
        fs::create_dir_all(&to).expect("the demo's own folder can be written");
        let copied = Command::new("cp").args(["-r", "-T"]).arg(project().join(tree)).arg(&to).status();
        assert!(copied.is_ok_and(|it| it.success()), "the shipped tree can be copied");
    }
}

/// Waits until the last apply of each has ended well, and says so as it happens.
fn configured(lab: &Lab, ids: &[String], limit: std::time::Duration) {
    for id in ids {
        let word = wait::until(&format!("{id} to be configured"), limit, || {
            let said = lab.labctl(&["minion", "show", id, "-o", "json"]);
            let json: serde_json::Value = serde_json::from_str(&said.stdout).ok()?;
            Some(find(find(&json, "last_apply")?, "word")?.as_str()?.to_owned())
        });
        println!("{id}  {word}");
    }
}

fn show(lab: &Lab, arguments: &[&str], code: i32) -> bool {
    let typed: Vec<String> = arguments.iter().map(|it| quoted(it)).collect();
    println!("\n{}", painted(1, &format!("$ labctl {}", typed.join(" "))));
    let _ = stdout().flush();
    let status = lab.labctl_command(arguments).status().expect("labctl runs");
    if status.code() != Some(code) {
        eprintln!("error: this should have ended with {code}, not with {status}\n{}", lab.logs());
    }
    status.code() == Some(code)
}

fn stay(lab: &Lab) {
    println!(
        "\nAPI: https://127.0.0.1:{}   MQTT over TLS, for dashboards: 127.0.0.1:{}",
        lab.https(),
        lab.mqtt()
    );
    if !stdout().is_terminal() {
        return;
    }
    println!("The lab stays until Ctrl-C. In another terminal:\n");
    println!("  export LABCTL_SOCKET={}", lab.socket().display());
    println!("  alias labctl={}", program("labctl").display());
    println!("  labctl target '*' list          labctl target vm-1 grains");
    println!("  labctl event watch              labctl target '@web' run -- uptime");
    println!("  labctl token create me --role viewer    # prints a mosquitto_sub line");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let _ = runtime.block_on(tokio::signal::ctrl_c());
    println!("\ncleaning up");
}

fn title(line: &str) {
    println!("\n{}", painted(36, &format!("# {line}")));
    let _ = stdout().flush();
}

/// In colour on a terminal, plain elsewhere.
fn painted(code: u8, text: &str) -> String {
    if stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn quoted(word: &str) -> String {
    if word.chars().all(|it| it.is_ascii_alphanumeric() || "-_./,=@".contains(it)) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
