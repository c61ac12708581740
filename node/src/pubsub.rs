//! Who listens to which channels, and messages on their way to them.
//!
//! A message is kept nowhere: it goes to those who listen at the moment, each of whom has a mailbox that its worker empties into
//! the connection. Publishing waits for nobody. A client that does not read what is sent is closed when too much is on its way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use shared::publication::PUBLICATION_BYTES_MAX;
use shared::resp::{Protocol, ReplyWriter};
use shared::time::MonoMillis;

use crate::client::ClientRecord;
use crate::command::scan::glob;

/// How many bytes of messages may be on their way to a client: `client-output-buffer-limit pubsub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// At no time more.
    pub(crate) hard: usize,
    /// Not for longer than `soft_s` seconds.
    pub(crate) soft: usize,
    pub(crate) soft_s: u64,
}

impl Limits {
    /// As in Redis; agents are always given these.
    pub(crate) const DEFAULT: Self = Self { hard: 32 << 20, soft: 8 << 20, soft_s: 60 };
}

/// A client that listens.
pub(crate) struct Listener {
    pub(crate) record: Arc<ClientRecord>,
    /// Messages as they are sent. Bounded by [`Limits`].
    mailbox: Mutex<Vec<u8>>,
    /// Since when more than the soft limit is on its way, in milliseconds of the monotonic clock.
    over_since_ms: AtomicU64,
}

impl Listener {
    pub(crate) fn new(record: Arc<ClientRecord>) -> Self {
        Self { record, mailbox: Mutex::default(), over_since_ms: AtomicU64::new(0) }
    }

    /// What has come since it was last asked for.
    pub(crate) fn take_messages(&self) -> Vec<u8> {
        std::mem::take(&mut *self.mailbox.lock())
    }

    pub(crate) fn deliver(&self, message: &[u8], post: &impl Post) -> Delivered {
        self.deliver_within(message, post.limits(), || post.now())
    }

    fn deliver_within(&self, message: &[u8], limits: Limits, now: impl Fn() -> MonoMillis) -> Delivered {
        let mut mailbox = self.mailbox.lock();
        let before = mailbox.len() + self.record.output_bytes.load(Ordering::Relaxed);
        let pending = before + message.len();
        if pending > limits.hard || (pending > limits.soft && self.is_over_for_long(before, limits, now())) {
            return Delivered::Overflowing;
        }
        let was_empty = mailbox.is_empty();
        mailbox.extend_from_slice(message);
        if was_empty { Delivered::First } else { Delivered::Behind }
    }

    /// Whether more than the soft limit has been on its way for as long as is allowed, now that it is more again, or still.
    fn is_over_for_long(&self, before: usize, limits: Limits, now: MonoMillis) -> bool {
        if before <= limits.soft {
            self.over_since_ms.store(now.0, Ordering::Relaxed);
        }
        let since = MonoMillis(self.over_since_ms.load(Ordering::Relaxed));
        limits.soft_s > 0 && now.since(since) >= limits.soft_s * 1_000
    }
}

/// What became of a message to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The mailbox was empty: the listener's worker is to be told.
    First,
    /// Others that have not been fetched stand before it.
    Behind,
    /// Too much is on its way.
    Overflowing,
}

/// What somebody listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A channel, by its name.
    Channel,
    /// All channels whose names match.
    Pattern,
}

impl Topic {
    pub(crate) const fn subscribed(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
        }
    }

    pub(crate) const fn unsubscribed(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
        }
    }
}

type Listeners = HashMap<Box<[u8]>, Vec<Arc<Listener>>>;

/// The agents that take what is published here to other masters.
#[derive(Default)]
struct Taps {
    listeners: Vec<Arc<Listener>>,
    /// How many messages were told to any.
    told: u64,
}

/// Who listens to what. Bounded by the clients and what each may listen to.
#[derive(Default)]
pub(crate) struct PubSub {
    topics: RwLock<[Listeners; 2]>,
    /// How many channels and patterns have listeners: where there are none, publishing costs no lock.
    heard: AtomicUsize,
    taps: Mutex<Taps>,
    is_tapped: AtomicBool,
    /// Messages that no agent took.
    dropped: AtomicU64,
}

/// Who must be looked after because of a message.
pub(crate) trait Post {
    /// There is something in the mailbox of a client.
    fn has_mail(&self, record: &ClientRecord);
    /// A client has not read what it was sent.
    fn close(&self, record: &ClientRecord);
    /// How much may be on its way to a client.
    fn limits(&self) -> Limits;
    fn now(&self) -> MonoMillis;
}

impl PubSub {
    pub(crate) fn add(&self, topic: Topic, name: &[u8], listener: &Arc<Listener>) {
        let topics = &mut *self.topics.write();
        topics[topic as usize].entry(name.into()).or_default().push(Arc::clone(listener));
        self.count(topics);
    }

    pub(crate) fn remove<'n>(
        &self,
        topic: Topic,
        names: impl IntoIterator<Item = &'n [u8]>,
        listener: &Arc<Listener>,
    ) {
        let topics = &mut *self.topics.write();
        let listeners = &mut topics[topic as usize];
        for name in names {
            if let Some(listening) = listeners.get_mut(name) {
                listening.retain(|other| !Arc::ptr_eq(other, listener));
                if listening.is_empty() {
                    listeners.remove(name);
                }
            }
        }
        self.count(topics);
    }

    fn count(&self, topics: &[Listeners; 2]) {
        self.heard.store(topics.iter().map(HashMap::len).sum(), Ordering::Release);
    }

    /// Whether anybody listens to anything.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire) > 0
    }

    /// Sends a message to all who listen now. Returns how often it was sent: to one client by each topic that fits.
    pub(crate) fn publish(&self, channel: &[u8], message: &[u8], post: &impl Post) -> usize {
        if !self.is_heard() {
            return 0;
        }
        let topics = self.topics.read();
        let [channels, patterns] = &*topics;
        let mut sent = 0;
        if let Some(listeners) = channels.get(channel) {
            send(listeners, &[b"message", channel, message], post);
            sent += listeners.len();
        }
        for (pattern, listeners) in patterns {
            if glob::matches(pattern, channel) {
                send(listeners, &[b"pmessage", pattern, channel, message], post);
                sent += listeners.len();
            }
        }
        sent
    }

    /// An agent takes what is published here to other masters: it is told `[number, channel, message]`.
    pub(crate) fn tap(&self, listener: &Arc<Listener>) {
        self.taps.lock().listeners.push(Arc::clone(listener));
        self.is_tapped.store(true, Ordering::Release);
    }

    pub(crate) fn untap(&self, listener: &Arc<Listener>) {
        let taps = &mut *self.taps.lock();
        taps.listeners.retain(|other| !Arc::ptr_eq(other, listener));
        self.is_tapped.store(!taps.listeners.is_empty(), Ordering::Release);
    }

    /// Sends a client's message to those who listen at other masters. What an agent does not take is dropped.
    pub(crate) fn publish_afar(&self, channel: &[u8], message: &[u8], post: &impl Post) {
        if !self.is_tapped.load(Ordering::Acquire) {
            return;
        }
        if channel.len() + message.len() > PUBLICATION_BYTES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let taps = &mut *self.taps.lock();
        taps.told += 1;
        let mut told = Vec::new();
        let mut writer = ReplyWriter::new(&mut told, Protocol::Resp2);
        writer.array(3);
        writer.integer(taps.told as i64);
        writer.bulk(channel);
        writer.bulk(message);
        for listener in &taps.listeners {
            match listener.deliver_within(&told, Limits::DEFAULT, || post.now()) {
                Delivered::First => post.has_mail(&listener.record),
                Delivered::Behind => {}
                Delivered::Overflowing => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// How many messages did not go to other masters: they are too long, or no agent took them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The channels that have listeners, of those that match.
    pub(crate) fn channels(&self, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let topics = self.topics.read();
        let channels = topics[Topic::Channel as usize].keys();
        channels
            .filter(|channel| pattern.is_none_or(|pattern| glob::matches(pattern, channel)))
            .cloned()
            .collect()
    }

    /// How many clients listen to a channel by its name.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        self.topics.read()[Topic::Channel as usize].get(channel).map_or(0, Vec::len)
    }

    /// How many channels, or patterns, have listeners.
    pub(crate) fn topics(&self, topic: Topic) -> usize {
        self.topics.read()[topic as usize].len()
    }
}

fn send(listeners: &[Arc<Listener>], parts: &[&[u8]], post: &impl Post) {
    let mut encoded: [Vec<u8>; 2] = Default::default();
    for listener in listeners {
        let protocol = listener.record.protocol();
        let message = &mut encoded[usize::from(protocol == Protocol::Resp3)];
        if message.is_empty() {
            let mut writer = ReplyWriter::new(message, protocol);
            writer.push(parts.len());
            parts.iter().for_each(|part| writer.bulk(part));
        }
        match listener.deliver(message, post) {
            Delivered::First => post.has_mail(&listener.record),
            Delivered::Behind => {}
            Delivered::Overflowing => post.close(&listener.record),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::time::WallMillis;

    use super::*;
    use crate::client::{Address, Clients};

    /// Notes what it is told.
    #[derive(Default)]
    struct Told(Mutex<Vec<(u64, &'static str)>>);

    impl Post for Told {
        fn has_mail(&self, record: &ClientRecord) {
            self.0.lock().push((record.id, "mail"));
        }

        fn close(&self, record: &ClientRecord) {
            self.0.lock().push((record.id, "close"));
        }

        fn limits(&self) -> Limits {
            Limits { hard: 3_000, soft: 1_000, soft_s: 1 }
        }

        fn now(&self) -> MonoMillis {
            MonoMillis(0)
        }
    }

    fn listener(clients: &Clients) -> Arc<Listener> {
        let address = Address::Unix { path: "/unix".to_owned() };
        Arc::new(Listener::new(clients.connect(address, 0, 0, WallMillis(0))))
    }

    #[test]
    fn a_message_reaches_each_listener_by_every_topic_that_fits() {
        let (clients, pubsub, told) = (Clients::default(), PubSub::default(), Told::default());
        let (one, two) = (listener(&clients), listener(&clients));
        assert_eq!(pubsub.publish(b"news", b"lost", &told), 0);
        pubsub.add(Topic::Channel, b"news", &one);
        pubsub.add(Topic::Channel, b"news", &two);
        pubsub.add(Topic::Pattern, b"n*", &one);
        assert_eq!(pubsub.publish(b"news", b"x", &told), 3);
        assert_eq!(pubsub.publish(b"olds", b"x", &told), 0);
        assert_eq!(*told.0.lock(), [(1, "mail"), (2, "mail")]);
        assert_eq!(two.take_messages(), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
        let by_both = one.take_messages();
        assert!(by_both.ends_with(b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\nx\r\n"));
        pubsub.remove(Topic::Channel, [&b"news"[..], b"absent"], &one);
        assert_eq!((pubsub.listeners(b"news"), pubsub.topics(Topic::Pattern)), (1, 1));
        pubsub.remove(Topic::Channel, [&b"news"[..]], &two);
        assert!(pubsub.channels(None).is_empty());
        assert_eq!(pubsub.publish(b"news", b"y", &told), 1);
    }

    #[test]
    fn agents_are_told_what_clients_publish_once_each_and_in_order() {
        let (clients, pubsub, told) = (Clients::default(), PubSub::default(), Told::default());
        pubsub.publish_afar(b"c", b"before", &told);
        let agent = listener(&clients);
        pubsub.tap(&agent);
        pubsub.publish_afar(b"c", b"x", &told);
        pubsub.publish_afar(b"c", b"y", &told);
        assert_eq!(*told.0.lock(), [(1, "mail")]);
        let expected = "*3\r\n:1\r\n$1\r\nc\r\n$1\r\nx\r\n*3\r\n:2\r\n$1\r\nc\r\n$1\r\ny\r\n";
        assert_eq!(String::from_utf8(agent.take_messages()).unwrap(), expected);
        pubsub.publish_afar(b"c", &vec![0; PUBLICATION_BYTES_MAX], &told);
        assert_eq!((agent.take_messages().len(), pubsub.dropped()), (0, 1));
        pubsub.untap(&agent);
        pubsub.publish_afar(b"c", b"z", &told);
        assert_eq!((agent.take_messages().len(), pubsub.dropped()), (0, 1));
    }

    #[test]
    fn who_does_not_read_is_closed_and_holds_no_more_than_the_bound() {
        let (clients, pubsub, told) = (Clients::default(), PubSub::default(), Told::default());
        let one = listener(&clients);
        pubsub.add(Topic::Channel, b"c", &one);
        let message = vec![0; 1_000];
        (0..4).for_each(|_| {
            pubsub.publish(b"c", &message, &told);
        });
        assert_eq!(*told.0.lock(), [(1, "mail"), (1, "close"), (1, "close")]);
        assert!(one.take_messages().len() <= 3_000);
    }

    #[test]
    fn who_reads_too_slowly_for_long_is_closed() {
        let one = listener(&Clients::default());
        let limits = Limits { hard: 3_000, soft: 1_000, soft_s: 10 };
        let deliver = |bytes, at_ms| one.deliver_within(&vec![0; bytes], limits, || MonoMillis(at_ms));
        assert_eq!(deliver(1_100, 5_000), Delivered::First);
        assert_eq!(deliver(1, 14_999), Delivered::Behind);
        assert_eq!(deliver(1, 15_000), Delivered::Overflowing);
        one.take_messages();
        assert_eq!(deliver(1_100, 16_000), Delivered::First);
        assert_eq!(deliver(1, 17_000), Delivered::Behind);
        assert_eq!(deliver(3_000, 17_000), Delivered::Overflowing);
    }
}
