//! Everything fails, at random and at once, in the middle of load.

use std::time::Duration;

use fastrand::Rng;
use tests::chaos::check_survives;
use tests::group::Topology;
use tests::load::{seed, size};

use crate::mesh;

#[test]
fn nothing_acknowledged_is_lost_while_everything_fails_at_random() {
    let mut random = Rng::with_seed(seed());
    let seconds = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or_else(|| size(45, 300) as u64));
    let mut group = mesh(3, &["--fsync", "always"]);
    check_survives(&mut group, Topology::Mesh, &mut random, duration);
}
