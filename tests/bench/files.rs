//! One large file to one minion and to ten at once.

use crate::figure::{Bench, Figure, lab, median};
use crate::pace::labctl;
use std::fs;

const BIG: &str =
    "big:\n  file.managed:\n    name: /srv/big\n    source: lab://files/big\n    makedirs: true\n";

/// Prints the figure.
pub(crate) fn measure(bench: &Bench) {
    let megabytes = bench.of(100, 20);
    for minions in [1, 10] {
        let mut lab = lab();
        lab.tree("states/big.sls", BIG);
        let mut bytes = vec![0; megabytes * 1_000_000];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let path = lab.root().join("srv/labctl/states/files/big");
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("the folder is ours");
        fs::write(&path, &bytes).expect("the folder is ours");
        drop(bytes);
        lab.start_master();
        let ids: Vec<String> = (0..minions).map(|number| format!("m-{number}")).collect();
        lab.minions(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let runs = bench.of(3, 1);
        let mut rates = Vec::new();
        for _ in 0..runs {
            for id in &ids {
                let _ = fs::remove_dir_all(lab.on_minion(id, "/srv"));
                let _ = fs::remove_dir_all(lab.cache(id));
            }
            let time = labctl(&lab, &["target", "*", "apply", "big"], 0);
            let bytes = u32::try_from(megabytes * minions).expect("not that many");
            rates.push(f64::from(bytes) / time * 1000.0);
        }
        bench.print(
            Figure::new("file_mb_per_s", median(&mut rates), "MB/s")
                .with("minions", minions)
                .with("mb", megabytes)
                .with("runs", runs),
        );
    }
}
