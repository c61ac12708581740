//! The `tandem-agent` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main()
}
