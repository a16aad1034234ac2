//! The operator's command line: asks the master, shows what it says.

fn main() -> std::process::ExitCode {
    labctl::main()
}
