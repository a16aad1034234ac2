//! What a minion, or somebody with a socket, cannot do: other topics, other files, forged and replayed offers, denial.

use std::net::TcpStream;
use tests::{lab::Lab, wait};

#[test]
fn three_hundred_idle_connections_do_not_keep_a_minion_out() {
    let mut lab = Lab::start();
    let idle: Vec<TcpStream> =
        (0..300).filter_map(|_| TcpStream::connect(("127.0.0.1", lab.mqtt())).ok()).collect();
    assert!(idle.len() > 250, "{}", idle.len());
    let seed = lab.seed("*", &[]);
    lab.launch("vm-1", &seed);
    let up = wait::try_until(wait::seconds(15), || (lab.presence("vm-1")? == "up").then_some(()));
    assert!(up.is_some(), "{}", lab.logs());
    drop(idle);
}
