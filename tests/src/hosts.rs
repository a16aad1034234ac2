//! Booted hosts: systemd-nspawn on overlays of the Debian root, each in a network namespace on one bridge.

use crate::{
    roots::{Overlay, debian, overlays, run},
    wait,
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A bridge in a network namespace of its own, with other namespaces on it: `10.77.0.0/24` and `fd77::/64`.
#[derive(Debug)]
pub struct Bridge {
    prefix: String,
    namespaces: Vec<String>,
}

impl Bridge {
    /// A new one; its namespaces are named so that several test processes do not meet.
    pub fn new() -> Self {
        let prefix = format!("lab{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let bridge = format!("{prefix}-br");
        run(Command::new("ip").args(["netns", "add", &bridge]));
        for command in ["link add br0 type bridge", "link set br0 up", "link set lo up"] {
            run(Command::new("ip").args(["-n", &bridge]).args(command.split(' ')));
        }
        Self { prefix, namespaces: vec![bridge] }
    }
    /// Adds a namespace with address 10.77.0.`number`, gives its name.
    pub fn attach(&mut self, number: u8) -> String {
        let name = format!("{}-{number}", self.prefix);
        let bridge = self.namespaces[0].clone();
        run(Command::new("ip").args(["netns", "add", &name]));
        self.namespaces.push(name.clone());
        let veth = format!("v{number}");
        run(Command::new("ip").args([
            "-n", &bridge, "link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", &name,
        ]));
        run(Command::new("ip").args(["-n", &bridge, "link", "set", &veth, "master", "br0", "up"]));
        for command in [
            format!("addr add 10.77.0.{number}/24 dev eth0"),
            format!("-6 addr add fd77::{number}/64 dev eth0 nodad"),
            "link set eth0 up".to_owned(),
            "link set lo up".to_owned(),
        ] {
            run(Command::new("ip").args(["-n", &name]).args(command.split(' ')));
        }
        name
    }
}

impl Default for Bridge {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for name in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// A Debian host with systemd, apt and D-Bus, booted with systemd-nspawn.
#[derive(Debug)]
pub struct Host {
    name: String,
    overlay: Overlay,
    namespace: Option<String>,
    child: Option<Child>,
    leader: u32,
    /// What it sees of this machine besides the repository: where it is here, where there.
    binds: Vec<(PathBuf, String)>,
}

impl Host {
    /// Prepares a host (not booted), with the flat repository in place.
    pub fn prepare(name: &str) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let overlay = Overlay::new(name);
        fs::write(overlay.root().join("etc/hostname"), format!("{name}\n")).expect("the overlay is ours");
        fs::write(overlay.root().join("etc/hosts"), format!("127.0.0.1 localhost {name}\n"))
            .expect("the overlay is ours");
        Self { name: name.to_owned(), overlay, namespace: None, child: None, leader: 0, binds: Vec::new() }
    }
    /// Its root, as the tests see it.
    pub fn root(&self) -> PathBuf {
        self.overlay.root()
    }
    /// Shows it a folder of this machine, read-only, from the next boot on.
    pub fn bind(&mut self, from: &Path, to: &str) {
        self.binds.push((from.to_owned(), to.to_owned()));
    }
    /// Boots it in a network namespace (none: loopback only) and waits until systemd is up.
    pub fn boot(&mut self, namespace: Option<&str>) {
        self.namespace = namespace.map(ToOwned::to_owned);
        let cgroup = self.cgroup();
        for hierarchy in ["systemd", "unified"] {
            let _ = fs::create_dir_all(Path::new("/sys/fs/cgroup").join(hierarchy).join(&cgroup));
        }
        let mut nspawn = String::from(
            "exec setpriv --pdeathsig KILL systemd-nspawn -q --register=no --keep-unit --boot --console=pipe",
        );
        match namespace {
            // Within its own network a host may do what a machine may: set filters, for one.
            Some(name) => {
                nspawn.extend([" --capability=CAP_NET_ADMIN --network-namespace-path=/run/netns/", name]);
            }
            None => nspawn.push_str(" --private-network"),
        }
        for (from, to) in &self.binds {
            nspawn.extend([" --bind-ro=", &from.display().to_string(), ":", to]);
        }
        let script = format!(
            "for h in systemd unified; do echo $$ > /sys/fs/cgroup/$h/{cgroup}/cgroup.procs || true; done 2>/dev/null\n\
             {nspawn} --bind-ro={}:/srv/repo -D {} -M {}",
            debian().repo.display(),
            self.root().display(),
            self.cgroup()
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let pid = child.id();
        self.child = Some(child);
        wait::until(&format!("systemd of {} to be up", self.name), wait::seconds(60), || {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
            self.leader = children.split_whitespace().next()?.parse().ok()?;
            let state = self.run("systemctl is-system-running 2>/dev/null");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"].contains(&state.as_str()).then_some(())
        });
    }
    /// Waits until it has gone down to boot anew, and boots it again on the same root and network.
    pub fn boot_anew(&mut self) {
        let mut child = self.child.take().expect("it is booted");
        wait::until(&format!("{} to go down", self.name), wait::seconds(120), || {
            child.try_wait().ok().flatten()
        });
        remove_cgroups(&self.cgroup());
        let namespace = self.namespace.clone();
        self.boot(namespace.as_deref());
    }
    /// Runs a shell script inside.
    pub fn run(&self, script: &str) -> Output {
        let leader = self.leader.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader, "-a", "sh", "-c", script]).env_clear();
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", "/root");
        command.stdin(Stdio::null()).output().expect("nsenter runs")
    }
    /// Runs a shell script that must succeed; gives its output without trailing white space.
    pub fn sh(&self, script: &str) -> String {
        let output = self.run(script);
        let stdout = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "on {}: {script}\n{stdout}\n{stderr}", self.name);
        stdout
    }
    /// Runs a program inside with something on its standard input.
    pub fn feed(&self, script: &str, input: &[u8]) -> Output {
        let leader = self.leader.to_string();
        let mut child = Command::new("nsenter")
            .args(["-t", &leader, "-a", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("nsenter can be waited for")
    }
    /// The host's own first process, as seen from outside.
    pub fn leader(&self) -> u32 {
        self.leader
    }
    /// Shuts it down in good order; it can be booted again on the same root.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").args(["-RTMIN+4", &self.leader.to_string()]).status();
        let ended = wait::try_until(wait::seconds(30), || child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = Command::new("kill").args(["-KILL", &self.leader.to_string()]).status();
            let _ = child.kill();
            let _ = child.wait();
        }
        remove_cgroups(&self.cgroup());
    }
    fn cgroup(&self) -> String {
        self.overlay.name()
    }
}

/// Removes a host's cgroups; its last processes may still be on their way out.
fn remove_cgroups(name: &str) {
    for hierarchy in ["systemd", "unified"] {
        let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(name);
        let _ = wait::try_until(wait::seconds(5), || {
            let _ = Command::new("find")
                .arg(&path)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .output();
            (!path.exists()).then_some(())
        });
    }
}

/// Removes what test processes left that were killed: overlays, cgroups, network namespaces.
fn sweep() {
    let gone = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
    for entry in fs::read_dir(overlays()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.rsplit_once('-').is_some_and(|(_, pid)| gone(pid)) {
            drop(Overlay::adopt(entry.path()));
            remove_cgroups(&name);
        }
    }
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("lab").and_then(|it| it.split_once('x'));
        if pid.is_some_and(|(pid, _)| gone(pid)) {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}
