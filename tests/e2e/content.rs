//! Large things by hash over HTTPS: sealed recipes, contents of some megabytes, interrupted fetches; and that what is
//! rendered from pillar lies nowhere in clear.

use bus::masters::Masters;
use bus::seed::Seed;
use bus::{Identity, PublicKey};
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tests::lab::Lab;

const CANARY: &str = "canary-7f3a9d";

/// Bytes in which no two parts are the same.
fn blob(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

fn write_source(lab: &Lab, path: &str, bytes: &[u8]) {
    let path = lab.root().join("srv/labctl").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file below a folder that has the canary in it, as it is or as base64.
fn tells(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            tells(&path, found);
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
        if encodings().iter().any(|it| text.contains(it)) {
            found.push(path.display().to_string());
        }
    }
}

/// The canary and what of it shows in base64, wherever it begins.
fn encodings() -> Vec<String> {
    use base64::Engine;
    let mut all = vec![CANARY.to_owned()];
    for before in ["", "x", "xx"] {
        let text = base64::prelude::BASE64_STANDARD_NO_PAD.encode(format!("{before}{CANARY}"));
        all.push(text[4..text.len() - 2].to_owned());
    }
    all
}

#[test]
fn a_large_recipe_arrives_sealed_and_what_pillar_gave_lies_nowhere_in_clear() {
    let mut lab = Lab::prepare();
    let bytes = blob(150_000);
    let lines: Vec<String> = bytes.chunks(64).map(|it| bus::seed::sha256(it).to_string().repeat(2)).collect();
    let template = format!("{}\ntoken {{{{ pillar.app.token }}}}\n", lines.join("\n"));
    lab.tree("states/app/files/large.conf", &template);
    lab.tree(
        "states/app/init.sls",
        "large:\n  file.managed:\n    name: /large.conf\n    source: lab://app/files/large.conf\n    template: handlebars\n\
         small:\n  file.managed:\n    name: /small.conf\n    contents: 'token {{ pillar.app.token }}'\n",
    );
    lab.tree("pillar/top.sls", "base:\n  '*':\n    - app\n");
    lab.tree("pillar/app.sls", &format!("app:\n  token: !secret {CANARY}\n"));
    lab.start_master();
    lab.minions(&["vm-1"]);
    lab.labctl(&["target", "vm-1", "apply", "app"]).expect(0);
    let large = fs::read_to_string(lab.on_minion("vm-1", "/large.conf")).unwrap();
    assert!(large.len() > 300_000 && large.ends_with(&format!("token {CANARY}\n")));
    // Once more with a reason to say something about it.
    fs::write(lab.on_minion("vm-1", "/large.conf"), "broken\n").unwrap();
    fs::write(lab.on_minion("vm-1", "/small.conf"), "broken\n").unwrap();
    lab.labctl(&["target", "vm-1", "plan", "app"]).expect(0);
    lab.labctl(&["target", "vm-1", "apply", "app"]).expect(0);

    let mut found = Vec::new();
    tells(&lab.root().join("var"), &mut found);
    tells(&lab.agent(0).folder, &mut found);
    tells(&lab.root().join("run"), &mut found);
    for log in ["master.log", "minions/vm-1/log"] {
        let text = fs::read_to_string(lab.folder().join(log)).unwrap();
        assert!(!text.contains(CANARY), "{log}");
    }
    let wanted = ["/large.conf", "/small.conf"].map(|it| lab.on_minion("vm-1", it).display().to_string());
    found.sort();
    assert_eq!(found, wanted, "only the managed files have it");
}

#[test]
fn a_content_of_megabytes_is_fetched_and_an_interrupted_fetch_goes_on_where_it_was() {
    let content = blob(6 << 20);
    let mut lab = Lab::prepare();
    write_source(&lab, "states/big/files/blob.bin", &content);
    lab.tree(
        "states/big/init.sls",
        "blob:\n  file.managed:\n    name: /opt/blob.bin\n    source: lab://big/files/blob.bin\n    makedirs: true\n",
    );
    lab.start_master();
    let proxy = Proxy::before(lab.https(), 2 << 20);
    let seed = seed_through(&lab, proxy.port);
    lab.launch("vm-1", &seed);
    lab.wait_up("vm-1");
    lab.labctl(&["target", "vm-1", "apply", "big"]).expect(0);
    assert!(fs::read(lab.on_minion("vm-1", "/opt/blob.bin")).unwrap() == content, "the same bytes");
    let (connections, bytes) = (proxy.connections.load(Ordering::SeqCst), proxy.bytes.load(Ordering::SeqCst));
    assert!(connections >= 2, "the first connection was cut");
    let size = content.len() as u64;
    assert!(bytes >= size && bytes < size + size / 4, "{bytes} of {size}: nothing is fetched twice");

    lab.labctl(&["target", "vm-1", "apply", "big"]).expect(0);
    assert_eq!(proxy.bytes.load(Ordering::SeqCst), bytes, "what is there is not fetched again");
}

/// A seed with a list of masters in which HTTPS is at another port.
fn seed_through(lab: &Lab, port: u16) -> std::path::PathBuf {
    let path = lab.seed("*", &[]);
    let mut seed = Seed::parse(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut masters = Masters::open(&seed.masters, &PublicKey::from_text(&seed.org).unwrap()).unwrap();
    masters.version += 100;
    masters.masters[0].https = vec![format!("127.0.0.1:{port}")];
    let org = Identity::load(&lab.root().join("var/lib/labctl/master/keys"), "org").unwrap();
    seed.masters = masters.sign(&org);
    fs::write(&path, serde_json::to_string(&seed).unwrap()).unwrap();
    path
}

/// Passes bytes on, counts what comes back, and cuts the first connection after some of it.
struct Proxy {
    port: u16,
    connections: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Proxy {
    fn before(port: u16, cut_after: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            bytes: Arc::default(),
        };
        let (connections, bytes) = (proxy.connections.clone(), proxy.bytes.clone());
        // It ends with the process of the tests.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(from, to, u64::MAX, &AtomicU64::new(0)));
                let bytes = bytes.clone();
                let limit = if first { cut_after } else { u64::MAX };
                thread::spawn(move || pass(server, client, limit, &bytes));
            }
        });
        proxy
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, limit: u64, counter: &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    let mut passed = 0;
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 || passed >= limit || to.write_all(&buffer[..read]).is_err() {
            break;
        }
        passed += read as u64;
        counter.fetch_add(read as u64, Ordering::SeqCst);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
