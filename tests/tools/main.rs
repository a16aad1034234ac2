//! Resources against the real tools: each test starts what it needs in a folder or a namespace of its own, on this machine.

mod disk;
mod firewall;
mod harness;
mod mysql;
mod postgres;
