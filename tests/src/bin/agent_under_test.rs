//! tandem-agent as the tests run it: built with them, so never stale.

fn main() -> std::process::ExitCode {
    agent::main()
}
