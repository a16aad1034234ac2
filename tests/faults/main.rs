//! Real programs under fault: killed at any sync, without power, without room, with broken writes, stopped, cut off,
//! with clocks that lie. One checker, [`tests::promise`], holds the promise about jobs against all of it.

mod clock;
mod crowd;
mod disk;
mod network;
mod output;
mod points;
mod proxy;
mod reboot;
mod stopped;
mod sync;
mod twice;
mod without;
mod writes;
