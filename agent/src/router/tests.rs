use proptest::prelude::*;

use super::*;

const OWN: Origin = Origin(1);
const OTHER: Origin = Origin(9);

fn router() -> Router {
    Router::new(NodeId(1), OWN, Frontier::new(), 7)
}

fn held(entries: &[(Origin, u64)]) -> Frontier {
    entries.iter().map(|(origin, at)| (*origin, Timestamp(*at))).collect()
}

fn link_up(router: &mut Router, id: u64, announced: &[(Origin, u64)], now: u64) {
    router.on_link_up(LinkId(id), NodeId(id), Origin(100 + id), held(announced), MonoMillis(now));
}

/// Lets time pass in the steps that the router asks for.
fn pass(router: &mut Router, from: u64, until: u64) -> Vec<(u64, Order)> {
    let mut orders = Vec::new();
    let mut now = from;
    while let Some(MonoMillis(at)) = router.deadline().filter(|at| at.0 <= until) {
        now = at.max(now + 1);
        router.on_tick(MonoMillis(now));
        orders.extend(router.take_orders().into_iter().map(|order| (now, order)));
    }
    orders
}

#[test]
fn a_peer_is_first_for_its_own_origin() {
    let mut router = router();
    link_up(&mut router, 2, &[], 0);
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(2), Origin(102), Timestamp(0))]);
}

#[test]
fn the_first_that_is_ahead_stays() {
    let mut router = router();
    link_up(&mut router, 2, &[], 0);
    link_up(&mut router, 3, &[], 0);
    router.take_orders();
    router.on_heard(LinkId(3), &held(&[(OTHER, 5)]), MonoMillis(1));
    router.on_heard(LinkId(2), &held(&[(OTHER, 9)]), MonoMillis(2));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), OTHER, Timestamp(0))]);
    // As long as it delivers something.
    for now in 0..100 {
        router.on_delivered(LinkId(3), OTHER);
        router.on_heard(LinkId(2), &held(&[(OTHER, 10 + now)]), MonoMillis(100 * now));
        assert_eq!(pass(&mut router, 100 * now, 100 * now + 99), []);
    }
}

#[test]
fn nobody_is_asked_for_what_this_node_writes_or_holds() {
    let mut router = router();
    router.on_held(&held(&[(OTHER, 9)]), MonoMillis(0));
    link_up(&mut router, 2, &[(OWN, 50), (OTHER, 9)], 0);
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(2), Origin(102), Timestamp(0))]);
}

#[test]
fn an_upstream_that_delivers_nothing_is_left_for_one_that_is_ahead() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 5)], 0);
    link_up(&mut router, 3, &[], 0);
    router.take_orders();
    assert_eq!(pass(&mut router, 0, 60_000), [], "nobody else has more");
    router.on_heard(LinkId(3), &held(&[(OTHER, 6)]), MonoMillis(60_000));
    let left = pass(&mut router, 60_000, 60_700);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1, Order::Unsubscribe(LinkId(2), OTHER));
    assert!((60_500..=60_625).contains(&left[0].0));
    router.on_drained(LinkId(2), OTHER, MonoMillis(60_700));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), OTHER, Timestamp(0))]);
}

#[test]
fn a_far_peer_is_given_four_round_trips() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 5)], 0);
    link_up(&mut router, 3, &[], 0);
    router.on_round_trip(LinkId(2), 300);
    router.take_orders();
    router.on_heard(LinkId(3), &held(&[(OTHER, 6)]), MonoMillis(0));
    let left = pass(&mut router, 0, 2_000);
    assert!((1_200..=1_500).contains(&left[0].0), "{left:?}");
}

#[test]
fn a_lost_link_is_made_good_by_another() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 5)], 0);
    link_up(&mut router, 3, &[(OTHER, 6)], 0);
    router.on_held(&held(&[(OTHER, 4)]), MonoMillis(0));
    router.take_orders();
    router.on_link_down(LinkId(2), MonoMillis(10));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), OTHER, Timestamp(4))]);
}

#[test]
fn an_author_takes_the_place_of_another_upstream_once() {
    let mut router = router();
    link_up(&mut router, 2, &[(Origin(103), 5)], 0);
    router.take_orders();
    router.on_held(&held(&[(Origin(103), 5)]), MonoMillis(0));
    link_up(&mut router, 3, &[(Origin(103), 5)], 0);
    assert_eq!(router.take_orders(), []);
    let left = pass(&mut router, 0, 2_600);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1, Order::Unsubscribe(LinkId(2), Origin(103)));
    assert!(left[0].0 >= 2_000);
    router.on_drained(LinkId(2), Origin(103), MonoMillis(2_600));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), Origin(103), Timestamp(5))]);
    router.on_heard(LinkId(3), &held(&[(Origin(103), 6)]), MonoMillis(2_600));
    assert_eq!(pass(&mut router, 2_600, 100_000), []);
}

#[test]
fn of_two_that_pull_from_each_other_who_is_ahead_stops() {
    for (held_here, after, stops) in [(9, 5, true), (5, 5, false), (4, 5, false)] {
        let mut router = router();
        link_up(&mut router, 2, &[(OTHER, 10)], 0);
        router.on_held(&held(&[(OTHER, held_here)]), MonoMillis(0));
        router.take_orders();
        router.on_peer_subscribed(LinkId(2), OTHER, Timestamp(after), MonoMillis(0));
        let expected = if stops { vec![Order::Unsubscribe(LinkId(2), OTHER)] } else { vec![] };
        assert_eq!(router.take_orders(), expected, "{held_here} after {after}");
    }
}

#[test]
fn what_is_refused_is_tried_again_later() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 5)], 0);
    router.take_orders();
    router.on_refused(LinkId(2), OTHER, &PullRefusal::Suspended, MonoMillis(0));
    router.on_drained(LinkId(2), OTHER, MonoMillis(1));
    assert_eq!(router.take_orders(), []);
    let again = pass(&mut router, 1, 10_000);
    assert_eq!(again.len(), 1);
    assert!(again[0].0 >= 5_000 && again[0].1 == Order::Subscribe(LinkId(2), OTHER, Timestamp(0)));
}

#[test]
fn what_no_log_holds_is_told_until_it_is_held() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 50)], 0);
    link_up(&mut router, 3, &[], 0);
    router.take_orders();
    let truncated = PullRefusal::Truncated(Timestamp(40));
    router.on_refused(LinkId(2), OTHER, &truncated, MonoMillis(0));
    router.on_drained(LinkId(2), OTHER, MonoMillis(1));
    assert_eq!(router.take_orders(), []);
    assert_eq!(router.truncated(), [(OTHER, NodeId(2))].into());
    // Another that has more may still stream it.
    router.on_heard(LinkId(3), &held(&[(OTHER, 51)]), MonoMillis(2));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), OTHER, Timestamp(0))]);
    assert_eq!(router.truncated(), [].into());
    router.on_refused(LinkId(3), OTHER, &truncated, MonoMillis(3));
    router.on_drained(LinkId(3), OTHER, MonoMillis(3));
    assert_eq!(router.truncated().len(), 1);
    // The node takes over a state that has as much as the logs begin with: it goes on from there at once.
    router.on_held(&held(&[(OTHER, 45)]), MonoMillis(10));
    assert_eq!(router.truncated(), [].into());
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(3), OTHER, Timestamp(45))]);
    // And goes back, should it give up.
    router.on_refused(LinkId(3), OTHER, &PullRefusal::Gap, MonoMillis(11));
    router.on_drained(LinkId(3), OTHER, MonoMillis(11));
    router.on_held_back(&held(&[]), MonoMillis(11));
    assert!(router.take_orders().contains(&Order::Subscribe(LinkId(2), OTHER, Timestamp(45))));
    router.on_refused(LinkId(2), OTHER, &PullRefusal::Gap, MonoMillis(12));
    router.on_drained(LinkId(2), OTHER, MonoMillis(12));
    let again = pass(&mut router, 12, 1_000);
    assert!(matches!(again[..], [(_, Order::Subscribe(_, OTHER, Timestamp(0))), ..]), "{again:?}");
}

#[test]
fn what_was_pulled_beyond_what_is_held_is_pulled_again() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 50)], 0);
    router.on_held(&held(&[(OTHER, 50)]), MonoMillis(1));
    router.take_orders();
    // A reconcile for which it was put aside is given up. Nobody has more, and nothing will follow it.
    router.on_held_back(&held(&[]), MonoMillis(2));
    assert_eq!(router.take_orders(), [Order::Unsubscribe(LinkId(2), OTHER)]);
    router.on_drained(LinkId(2), OTHER, MonoMillis(3));
    assert_eq!(router.take_orders(), [Order::Subscribe(LinkId(2), OTHER, Timestamp(0))]);
}

#[test]
fn what_ended_below_a_peers_floor_is_pulled() {
    let mut router = router();
    router.on_held(&held(&[(OTHER, 9)]), MonoMillis(0));
    let mut announced = Frontier::new();
    announced.raise_floor(Timestamp(20));
    router.on_link_up(LinkId(2), NodeId(2), Origin(102), announced, MonoMillis(0));
    assert!(router.take_orders().contains(&Order::Subscribe(LinkId(2), OTHER, Timestamp(9))));
}

#[test]
fn lag_is_the_time_since_more_was_heard_of() {
    let mut router = router();
    link_up(&mut router, 2, &[(OTHER, 50)], 100);
    let lag = |router: &Router, now| {
        router.upstreams(MonoMillis(now)).find(|(origin, ..)| *origin == OTHER).map(|(_, _, lag_ms)| lag_ms)
    };
    assert_eq!(lag(&router, 150), Some(50));
    router.on_held(&held(&[(OTHER, 50)]), MonoMillis(200));
    assert_eq!(lag(&router, 250), Some(0));
}

/// Hosts with a router each, links between some of them, and batches that move one host a step.
struct World {
    hosts: Vec<Host>,
    now: u64,
}

struct Host {
    router: Router,
    held: Frontier,
    /// What is pulled from which host.
    pulls: BTreeMap<Origin, usize>,
    neighbours: BTreeSet<usize>,
}

/// A step of the world, in milliseconds; frontiers are said every fifth step.
const STEP_MS: u64 = 10;

fn origin_of(host: usize) -> Origin {
    Origin(host as u64 + 1)
}

impl World {
    fn new(count: usize, links: &BTreeSet<(usize, usize)>, seed: u64) -> Self {
        let host = |index: usize| Host {
            router: Router::new(NodeId(index as u64), origin_of(index), Frontier::new(), seed + index as u64),
            held: Frontier::new(),
            pulls: BTreeMap::new(),
            neighbours: BTreeSet::new(),
        };
        let mut world = Self { hosts: (0..count).map(host).collect(), now: 0 };
        for (a, b) in links {
            world.join(*a, *b);
            world.join(*b, *a);
        }
        world
    }

    /// A link's id is the host at its other end.
    fn join(&mut self, from: usize, to: usize) {
        let (announced, now) = (self.hosts[to].held.clone(), MonoMillis(self.now));
        let host = &mut self.hosts[from];
        host.neighbours.insert(to);
        host.router.on_link_up(LinkId(to as u64), NodeId(to as u64), origin_of(to), announced, now);
    }

    fn part(&mut self, from: usize, to: usize) {
        // A hub carries orders out at once: none is left when a link goes.
        self.carry_out(from);
        let now = MonoMillis(self.now);
        let host = &mut self.hosts[from];
        host.neighbours.remove(&to);
        host.pulls.retain(|_, upstream| *upstream != to);
        host.router.on_link_down(LinkId(to as u64), now);
    }

    fn write(&mut self, host: usize) {
        let origin = origin_of(host);
        let next = self.hosts[host].held.get(origin).next();
        self.hosts[host].held.advance(origin, next);
        let held = self.hosts[host].held.clone();
        self.hosts[host].router.on_held(&held, MonoMillis(self.now));
    }

    fn step(&mut self) {
        self.now += STEP_MS;
        let now = MonoMillis(self.now);
        for index in 0..self.hosts.len() {
            if self.hosts[index].router.deadline().is_some_and(|at| at <= now) {
                self.hosts[index].router.on_tick(now);
            }
            self.carry_out(index);
        }
        self.deliver();
        if self.now.is_multiple_of(5 * STEP_MS) {
            self.announce();
        }
    }

    fn carry_out(&mut self, index: usize) {
        let now = MonoMillis(self.now);
        for order in self.hosts[index].router.take_orders() {
            match order {
                Order::Subscribe(LinkId(to), origin, after) => {
                    let to = to as usize;
                    assert_eq!(self.hosts[index].pulls.insert(origin, to), None, "one upstream at a time");
                    self.hosts[to].router.on_peer_subscribed(LinkId(index as u64), origin, after, now);
                }
                Order::Unsubscribe(LinkId(to), origin) => {
                    self.hosts[index].pulls.remove(&origin);
                    self.hosts[to as usize].router.on_peer_unsubscribed(LinkId(index as u64), origin);
                    self.hosts[index].router.on_drained(LinkId(to), origin, now);
                }
            }
        }
    }

    fn deliver(&mut self) {
        let before: Vec<_> = self.hosts.iter().map(|host| host.held.clone()).collect();
        for host in &mut self.hosts {
            for (origin, upstream) in &host.pulls {
                if before[*upstream].get(*origin) > host.held.get(*origin) {
                    host.held.advance(*origin, before[*upstream].get(*origin));
                    host.router.on_delivered(LinkId(*upstream as u64), *origin);
                }
            }
            host.router.on_held(&host.held, MonoMillis(self.now));
        }
    }

    fn announce(&mut self) {
        let said: Vec<_> = self.hosts.iter().map(|host| host.held.clone()).collect();
        for host in &mut self.hosts {
            for neighbour in host.neighbours.clone() {
                host.router.on_heard(LinkId(neighbour as u64), &said[neighbour], MonoMillis(self.now));
            }
        }
    }

    fn run(&mut self, duration_ms: u64) {
        for _ in 0..duration_ms / STEP_MS {
            self.step();
        }
    }

    fn has_converged(&self) -> bool {
        self.hosts.iter().all(|host| host.held == self.hosts[0].held)
    }
}

/// Links, by the hosts that they join.
type Links = BTreeSet<(usize, usize)>;

/// A tree, and some links more.
fn any_network() -> impl Strategy<Value = (usize, Links, Links)> {
    (2..8usize).prop_flat_map(|count| {
        let parents: Vec<_> = (1..count).map(|index| (0..index).boxed()).collect();
        let more = proptest::collection::vec((0..count, 0..count), 0..6);
        (parents, more).prop_map(move |(parents, more)| {
            let tree: BTreeSet<_> =
                parents.into_iter().enumerate().map(|(index, parent)| (parent, index + 1)).collect();
            let more = more.into_iter().filter(|(a, b)| a < b && !tree.contains(&(*a, *b)));
            let more: BTreeSet<_> = more.collect();
            (count, tree, more)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the network, and when links go away and come back under load: all that was written comes everywhere.
    #[test]
    fn every_write_reaches_every_host((count, tree, more) in any_network(), seed in any::<u32>()) {
        let all: BTreeSet<_> = tree.union(&more).copied().collect();
        let mut world = World::new(count, &all, seed.into());
        let mut random = fastrand::Rng::with_seed(seed.into());
        let mut down: BTreeSet<(usize, usize)> = BTreeSet::new();
        for _ in 0..100 {
            world.write(random.usize(0..count));
            world.run(random.u64(10..200));
            // A link of those that the tree does without, so that the network stays one.
            if let Some(link) = random.choice(&more).copied() {
                let (a, b) = link;
                if down.remove(&link) {
                    world.join(a, b);
                    world.join(b, a);
                } else {
                    down.insert(link);
                    world.part(a, b);
                    world.part(b, a);
                }
            }
        }
        world.run(15_000);
        prop_assert!(world.has_converged());
        // And it is calm: a minute of load changes nothing, once every host has heard of every writer.
        for _ in 0..10 {
            (0..count).for_each(|host| world.write(host));
            world.run(1_000);
        }
        let pulls: Vec<_> = world.hosts.iter().map(|host| host.pulls.clone()).collect();
        for _ in 0..100 {
            world.write(random.usize(0..count));
            world.run(600);
        }
        let later: Vec<_> = world.hosts.iter().map(|host| host.pulls.clone()).collect();
        prop_assert_eq!(pulls, later);
    }
}
