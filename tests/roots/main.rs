//! Real Debian roots: resources on a real machine, the shipped tree, and the acceptance of the whole.

mod acceptance;
mod beacons;
mod differential;
mod functions;
mod harness;
mod images;
mod machine;
mod service;
mod shipped;
mod way_back;
