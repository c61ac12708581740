//! SUBSCRIBE, PUBLISH and their like.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::resp::ReplyWriter;

use super::Command;
use super::context::Context;
use super::introspect::reply_help;
use crate::client::Client;
use crate::error::{CommandError, CommandResult};
use crate::pubsub::{Listener, Topic};
use crate::server::Server;

const FLAGS: &[&str] = &["pubsub", "noscript", "loading", "stale"];
const PUBSUB_FLAGS: &[&str] = &["pubsub", "loading", "stale"];

/// A client may listen to so many channels, and patterns.
const TOPICS_MAX: usize = 1 << 20;

pub(super) const COMMANDS: &[Command] = &[
    Command::without_keys("subscribe", -2, FLAGS, subscribe),
    Command::without_keys("psubscribe", -2, FLAGS, psubscribe),
    Command::without_keys("unsubscribe", -1, FLAGS, unsubscribe),
    Command::without_keys("punsubscribe", -1, FLAGS, punsubscribe),
    Command::without_keys("publish", 3, &["pubsub", "loading", "stale", "fast", "may_replicate"], publish),
    Command::without_keys("pubsub", -2, &["container"], help),
    Command::without_keys("pubsub|help", 2, &["loading", "stale"], help),
    Command::without_keys("pubsub|channels", -2, PUBSUB_FLAGS, channels),
    Command::without_keys("pubsub|numsub", -2, PUBSUB_FLAGS, numsub),
    Command::without_keys("pubsub|numpat", 2, PUBSUB_FLAGS, numpat),
    Command::without_keys("pubsub|shardchannels", -2, PUBSUB_FLAGS, shard_channels),
    Command::without_keys("pubsub|shardnumsub", -2, PUBSUB_FLAGS, shard_numsub),
];

/// What a client may do that listens and speaks RESP2, where it cannot tell a reply from a message.
pub(super) fn is_for_listeners(command: &Command) -> bool {
    let allowed = ["subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ping", "quit", "reset"];
    allowed.contains(&command.name)
}

/// Whether what a command says is pushed to the client, and no reply.
pub(super) fn is_pushed(command: &str) -> bool {
    ["subscribe", "psubscribe", "unsubscribe", "punsubscribe"].contains(&command)
}

/// What a client listens to.
pub(crate) struct Subscriptions {
    pub(crate) listener: Arc<Listener>,
    topics: [BTreeSet<Box<[u8]>>; 2],
    /// Whether it is an agent that takes messages to other masters.
    is_tap: bool,
}

impl Subscriptions {
    fn count(&self) -> usize {
        self.topics.iter().map(BTreeSet::len).sum()
    }

    fn note_counts(&self) {
        let record = &self.listener.record;
        record.channels.store(self.topics[Topic::Channel as usize].len(), Ordering::Relaxed);
        record.patterns.store(self.topics[Topic::Pattern as usize].len(), Ordering::Relaxed);
    }
}

fn subscribe(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    listen(context, Topic::Channel, &arguments[1..])
}

fn psubscribe(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    listen(context, Topic::Pattern, &arguments[1..])
}

fn unsubscribe(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    ignore(context, Topic::Channel, &arguments[1..]);
    Ok(())
}

fn punsubscribe(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    ignore(context, Topic::Pattern, &arguments[1..]);
    Ok(())
}

fn listen(context: &mut Context<'_, '_>, topic: Topic, names: &[&[u8]]) -> CommandResult {
    let client = &mut *context.client;
    let known = client.subscriptions.as_ref().map_or(0, |known| known.topics[topic as usize].len());
    if known + names.len() > TOPICS_MAX {
        return Err(CommandError::composed(format!(
            "ERR this client listens to too many channels: {TOPICS_MAX} and as many patterns are allowed"
        )));
    }
    let subscriptions = client.subscriptions.get_or_insert_with(|| {
        let listener = Arc::new(Listener::new(Arc::clone(&client.record)));
        Box::new(Subscriptions { listener, topics: Default::default(), is_tap: false })
    });
    for name in names {
        if subscriptions.topics[topic as usize].insert(Box::from(*name)) {
            context.server.pubsub.add(topic, name, &subscriptions.listener);
        }
        confirm(&mut context.reply, topic.subscribed(), Some(name), subscriptions.count());
    }
    subscriptions.note_counts();
    Ok(())
}

/// Listens to these no longer; to nothing of the sort if none are named. What was sent before is told before.
fn ignore(context: &mut Context<'_, '_>, topic: Topic, names: &[&[u8]]) {
    let Some(subscriptions) = &mut context.client.subscriptions else {
        if names.is_empty() {
            confirm(&mut context.reply, topic.unsubscribed(), None, 0);
        }
        names.iter().for_each(|name| confirm(&mut context.reply, topic.unsubscribed(), Some(name), 0));
        return;
    };
    let all: Vec<Box<[u8]>> = subscriptions.topics[topic as usize].iter().cloned().collect();
    let named: Vec<&[u8]> =
        if names.is_empty() { all.iter().map(|name| &**name).collect() } else { names.to_vec() };
    context.server.pubsub.remove(topic, named.iter().copied(), &subscriptions.listener);
    context.reply.raw(&subscriptions.listener.take_messages());
    for name in &named {
        subscriptions.topics[topic as usize].remove(*name);
        confirm(&mut context.reply, topic.unsubscribed(), Some(name), subscriptions.count());
    }
    if named.is_empty() {
        confirm(&mut context.reply, topic.unsubscribed(), None, subscriptions.count());
    }
    subscriptions.note_counts();
    if subscriptions.count() == 0 && !subscriptions.is_tap {
        context.client.subscriptions = None;
    }
}

/// Listens to nothing any more, and says nothing of it.
pub(crate) fn ignore_all(server: &Server, client: &mut Client) {
    let Some(mut subscriptions) = client.subscriptions.take() else { return };
    if subscriptions.is_tap {
        server.pubsub.untap(&subscriptions.listener);
    }
    for topic in [Topic::Channel, Topic::Pattern] {
        let names = std::mem::take(&mut subscriptions.topics[topic as usize]);
        server.pubsub.remove(topic, names.iter().map(|name| &**name), &subscriptions.listener);
    }
    subscriptions.note_counts();
}

/// Makes the client one that takes messages to other masters.
pub(super) fn tap(server: &Server, client: &mut Client) {
    ignore_all(server, client);
    let listener = Arc::new(Listener::new(Arc::clone(&client.record)));
    server.pubsub.tap(&listener);
    client.subscriptions =
        Some(Box::new(Subscriptions { listener, topics: Default::default(), is_tap: true }));
}

fn confirm(reply: &mut ReplyWriter<'_>, what: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(what.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

fn publish(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let (channel, message) = (arguments[1], arguments[2]);
    let receivers = context.server.publish(channel, message);
    context.server.pubsub.publish_afar(channel, message, context.server);
    // A message to itself comes before the reply, as in Redis; but not among the replies of EXEC.
    if let Some(subscriptions) = &context.client.subscriptions
        && !context.in_exec
    {
        context.reply.raw(&subscriptions.listener.take_messages());
    }
    context.reply.integer(receivers as i64);
    Ok(())
}

fn help(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    reply_help(
        &mut context.reply,
        "PUBSUB",
        &[
            ("CHANNELS [<pattern>]", "The channels that clients of this node listen to by name."),
            ("NUMPAT", "How many patterns clients of this node listen to."),
            ("NUMSUB [<channel> ...]", "How many clients of this node listen to each of these by name."),
            ("SHARDCHANNELS [<pattern>]", "None: there are no shards."),
            ("SHARDNUMSUB [<channel> ...]", "Nobody: there are no shards."),
        ],
    );
    Ok(())
}

fn channels(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    let pattern = match arguments[2..] {
        [] => None,
        [pattern] => Some(pattern),
        _ => return Err(unknown_form(arguments)),
    };
    let channels = context.server.pubsub.channels(pattern);
    context.reply.array(channels.len());
    channels.iter().for_each(|channel| context.reply.bulk(channel));
    Ok(())
}

fn numsub(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    tell_counts(context, arguments, |server, channel| server.pubsub.listeners(channel))
}

fn numpat(context: &mut Context<'_, '_>, _: &[&[u8]]) -> CommandResult {
    context.reply.integer(context.server.pubsub.topics(Topic::Pattern) as i64);
    Ok(())
}

fn shard_channels(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    if arguments.len() > 3 {
        return Err(unknown_form(arguments));
    }
    context.reply.array(0);
    Ok(())
}

fn shard_numsub(context: &mut Context<'_, '_>, arguments: &[&[u8]]) -> CommandResult {
    tell_counts(context, arguments, |_, _| 0)
}

fn tell_counts(
    context: &mut Context<'_, '_>,
    arguments: &[&[u8]],
    count: fn(&Server, &[u8]) -> usize,
) -> CommandResult {
    let channels = &arguments[2..];
    context.reply.array(2 * channels.len());
    for channel in channels {
        context.reply.bulk(channel);
        context.reply.integer(count(context.server, channel) as i64);
    }
    Ok(())
}

fn unknown_form(arguments: &[&[u8]]) -> CommandError {
    CommandError::composed(format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try PUBSUB HELP.",
        super::arguments::quoted(arguments[1])
    ))
}
