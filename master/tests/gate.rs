//! The gate on real sockets: who is let in, who is heard, what is refused, and that nobody can keep others out.

#[path = "gate/bench.rs"]
mod bench;
#[path = "gate/budgets.rs"]
mod budgets;
#[path = "gate/fuzz.rs"]
mod fuzz;
#[path = "gate/minions.rs"]
mod minions;
#[path = "gate/observers.rs"]
mod observers;
