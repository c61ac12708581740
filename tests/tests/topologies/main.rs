//! Every connected topology converges, and each write crosses each receiving host once.

mod copies;

mod failing;

mod links;

use fastrand::Rng;
use redis::Connection;
use tests::load::send_all;

/// Writes a run of keys, most of them this client's own.
fn write(random: &mut Rng, client: &mut Connection) {
    let padding = "x".repeat(100);
    let run: [String; 16] =
        std::array::from_fn(|_| format!("SET key:{} {}{padding}", random.u16(..10_000), random.u64(..)));
    send_all(client, &run);
}
