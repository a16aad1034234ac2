//! 1,000 file states on one minion that already are as they should be, beside `salt-call --local`.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::labctl;
use crate::salt::Salt;
use std::{fmt::Write as _, fs, path::Path};
use tests::lab::Lab;

const FILES: usize = 1000;
const ID: &str = "vm-0";
const STATE: &str = "many";

/// Prints the figure.
pub(crate) fn measure(bench: &Bench) {
    let mut lab = lab();
    let out = lab.folder().join("out");
    tree(&lab, &out);
    lab.start_master();
    let seed = lab.seed("*", &[]);
    lab.launch_on_this_machine(ID, &seed);
    lab.wait_up(ID);
    let apply = ["target", ID, "apply", STATE];
    labctl(&lab, &apply, 0);
    assert_eq!(fs::read_dir(&out).map_or(0, Iterator::count), FILES, "{}", lab.logs());
    let mut times: Vec<f64> = (0..bench.of(15, 6)).map(|_| labctl(&lab, &apply, 0)).collect();
    let figure = Figure::new("many_files_noop_ms", median(&mut times), "ms");
    let figure = figure.with("files", FILES).with("runs", times.len());
    bench.print(figure.beside_salt(&mut salt(bench, &lab)));
}

/// The same tree, all as it should be already; through `salt-call`, which starts anew each time.
fn salt(bench: &Bench, lab: &Lab) -> Vec<f64> {
    let tree = lab.root().join("srv/labctl");
    let trees = [tree.join("states"), tree.join("pillar")];
    let Some(salt) = Salt::find(lab.folder(), [&trees[0], &trees[1]], &serde_json::json!({})) else {
        return Vec::new();
    };
    salt.apply_ms(STATE);
    (0..bench.of(5, 2)).map(|_| salt.apply_ms(STATE)).collect()
}

fn tree(lab: &Lab, out: &Path) {
    let out = out.display();
    let mut states = format!("#!yaml\n{out}:\n  file.directory:\n    - makedirs: True\n");
    for number in 0..FILES {
        let _ = write!(
            states,
            "{out}/f{number}.conf:\n  file.managed:\n    - source: salt://many/files/{number}.conf\n    - mode: '0644'\n"
        );
        let text = format!("# file number {number}\nlisten = {}\nname = of-{number}\n", 1024 + number);
        lab.tree(&format!("states/many/files/{number}.conf"), &text);
    }
    lab.tree("states/many/init.sls", &states);
    lab.tree("pillar/top.sls", "#!yaml\nbase:\n  '*': [site]\n");
    lab.tree("pillar/site.sls", "#!yaml\nsite: lab\n");
}
