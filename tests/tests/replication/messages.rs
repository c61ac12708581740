//! PUBLISH reaches those who listen at every master, once; and who waits for an element is woken by a push at another.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::{Commands, Connection, FromRedisValue};
use tests::group::{Group, Topology};
use tests::host::Host;
use tests::programs;
use tests::raw::Raw;
use tests::wait::{wait_for, wait_until};

/// So many messages are published at each master.
const MESSAGES: usize = 1_000;

/// So many of them in one go.
const BURST: usize = 100;

/// A client that listens to a channel.
pub(crate) struct Listener(Connection);

impl Listener {
    pub(crate) fn at(host: &Host, channel: &str) -> Self {
        let mut client = host.client();
        client.send_packed_command(&redis::cmd("SUBSCRIBE").arg(channel).get_packed_command()).expect("sent");
        let mut listener = Self(client);
        assert_eq!(listener.next::<(String, String, i64)>(), ("subscribe".into(), channel.into(), 1));
        listener
    }

    fn next<T: FromRedisValue>(&mut self) -> T {
        let value = self.0.recv_response().expect("something comes");
        let parts = match value {
            redis::Value::Push { data, .. } => redis::Value::Array(data),
            value => value,
        };
        T::from_redis_value(parts).expect("three parts")
    }

    pub(crate) fn next_text(&mut self) -> String {
        let (_, _, text): (String, String, String) = self.next();
        text
    }

    /// Publishes until something arrives: links take a moment to know from whom they hear whom.
    fn hear_from(&mut self, host: &Host) {
        let is_heard = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = host.client();
                wait_until("a message to arrive", || {
                    let _: i64 = client.publish("first", "x").expect("published");
                    is_heard.load(Ordering::Acquire)
                });
            });
            self.next_text();
            is_heard.store(true, Ordering::Release);
        });
    }
}

#[test]
fn messages_reach_those_who_listen_at_every_master_once_and_in_order() {
    for topology in [Topology::Chain, Topology::Ring] {
        check_messages(topology);
    }
}

/// Nothing was ever written: a message needs no data to go along with.
fn check_messages(topology: Topology) {
    let mut group = Group::start(&programs!(), 4, topology);
    for host in group.hosts() {
        for author in group.hosts() {
            Listener::at(host, "first").hear_from(author);
        }
    }
    let mut listeners: Vec<Listener> = group.hosts().iter().map(|host| Listener::at(host, "news")).collect();
    for author in 0..group.hosts().len() {
        let mut client = group[author].client();
        // What waits is bounded, and dropped beyond: so what was published is awaited from time to time.
        for first in (0..MESSAGES).step_by(BURST) {
            for number in first..first + BURST {
                let receivers: i64 = client.publish("news", format!("{author} {number}")).expect("published");
                assert_eq!(receivers, 1, "those of this node are counted");
            }
            for (host, listener) in listeners.iter_mut().enumerate() {
                for number in first..first + BURST {
                    let text = listener.next_text();
                    assert!(
                        text == format!("{author} {number}"),
                        "{text} instead of {author} {number} at {host}, {topology:?}, dropped: {:?}",
                        group
                            .hosts()
                            .iter()
                            .map(|host| host.counter("pubsub_messages_dropped"))
                            .collect::<Vec<_>>()
                    );
                }
            }
        }
    }
    // Messages go on when the links are made again.
    group.cut_all();
    group.heal_all();
    group.wait_linked();
    Listener::at(&group[3], "first").hear_from(&group[0]);
    drop(listeners);
    group.hosts_mut().iter_mut().for_each(Host::kill_agent);
}

#[test]
fn who_waits_for_an_element_is_given_what_another_master_pushes_in_turn() {
    let group = Group::start(&programs!(), 2, Topology::Mesh);
    let (left, right) = (&group[0], &group[1]);
    let mut waiting: Vec<Raw> = (0..3)
        .map(|_| {
            let mut client = Raw::connect(([127, 0, 0, 1], right.port()).into());
            client.send("BLPOP queue 0\r\n");
            client
        })
        .enumerate()
        .map(|(index, client)| {
            wait_for("a client to wait", || match right.counter("blocked_clients") as usize {
                count if count > index => Ok(()),
                count => Err(format!("{count} wait")),
            });
            client
        })
        .collect();
    let mut client = left.client();
    let _: i64 = client.rpush("queue", &["a", "b"]).expect("pushed");
    let _: i64 = client.rpush("queue", &["c"]).expect("pushed");
    for (client, expected) in waiting.iter_mut().zip(["a", "b", "c"]) {
        let reply: Vec<String> = (0..5).map(|_| client.read_line()).collect();
        assert_eq!(reply, ["*2", "$5", "queue", "$1", expected]);
    }
    group.wait_converged();
    assert_eq!(client.llen::<_, i64>("queue").expect("an answer"), 0, "what was taken there is gone here");
}
