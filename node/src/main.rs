//! The command line of tandem-node; all of it is in the library, so that tests can build it, too.

fn main() -> std::process::ExitCode {
    node::main()
}
