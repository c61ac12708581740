//! tandem-node as the tests run it: built with them, so never stale.

fn main() -> std::process::ExitCode {
    // As released: a thread that panics takes the node with it, so that nobody waits for its answers.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    node::main()
}
