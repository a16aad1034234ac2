//! The program `labminion`.

fn main() {}
