//! What COMMAND DOCS tells of each command.

/// What a command does, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doc {
    pub(super) summary: &'static str,
    /// The version of Redis that had it first; of Tandem for what only that has.
    pub(super) since: &'static str,
    pub(super) group: Group,
    pub(super) complexity: &'static str,
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Bitmap,
    Connection,
    Generic,
    Hash,
    List,
    PubSub,
    Server,
    Set,
    SortedSet,
    String,
    Transactions,
}

impl Group {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Hash => "hash",
            Self::List => "list",
            Self::PubSub => "pubsub",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Server => "server",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

/// What there is to tell of a command whose row has come before its words.
const UNKNOWN: Doc = Doc { summary: "", since: "", group: Group::Server, complexity: "" };

/// What the command of this name, in lower case, does.
pub(super) fn find(name: &str) -> Doc {
    let rows = GROUPS.iter().flat_map(|(group, rows)| rows.iter().map(|row| (*group, row)));
    let found = rows.into_iter().find(|(_, (known, ..))| *known == name);
    found.map_or(UNKNOWN, |(group, &(_, since, complexity, summary))| Doc {
        summary,
        since,
        group,
        complexity,
    })
}

/// Name, since, complexity, summary.
type Row = (&'static str, &'static str, &'static str, &'static str);

const GROUPS: [(Group, &[Row]); 11] = [
    (Group::Connection, CONNECTION),
    (Group::Server, SERVER),
    (Group::Generic, GENERIC),
    (Group::String, STRING),
    (Group::Bitmap, BITMAP),
    (Group::Transactions, TRANSACTIONS),
    (Group::Hash, HASH),
    (Group::Set, SET),
    (Group::SortedSet, SORTED_SET),
    (Group::List, LIST),
    (Group::PubSub, PUBSUB),
];

const CONNECTION: &[Row] = &[
    ("auth", "1.0.0", "O(N), N the passwords of the user", "Proves who the client is."),
    ("client", "2.4.0", "by subcommand", "Tells and changes what the server knows of connections."),
    ("client|caching", "6.0.0", "O(1)", "Says whether the next command's keys are to be tracked."),
    ("client|getname", "2.6.9", "O(1)", "Tells the connection's name."),
    ("client|getredir", "6.0.0", "O(1)", "Tells where tracking messages go."),
    ("client|help", "5.0.0", "O(1)", "Lists the subcommands."),
    ("client|id", "5.0.0", "O(1)", "Tells the connection's number."),
    ("client|info", "6.2.0", "O(1)", "Tells what the server knows of the connection."),
    ("client|pause", "2.9.50", "O(1)", "Carries out no commands of clients for a while."),
    ("client|unpause", "6.2.0", "O(1)", "Ends a pause."),
    ("client|unblock", "5.0.0", "O(1)", "Ends a connection's wait."),
    ("client|kill", "2.4.0", "O(N), N the connections", "Ends connections."),
    ("client|list", "2.4.0", "O(N), N the connections", "Tells what the server knows of all connections."),
    ("client|no-evict", "7.0.0", "O(1)", "Spares the connection when memory is short."),
    ("client|reply", "3.2.0", "O(1)", "Switches replies off and on."),
    ("client|setinfo", "7.2.0", "O(1)", "Notes the client library's name or version."),
    ("client|setname", "2.6.9", "O(1)", "Names the connection."),
    ("client|tracking", "6.0.0", "O(1)", "Switches messages about changed keys."),
    ("client|trackinginfo", "6.2.0", "O(1)", "Tells how keys are tracked for the connection."),
    ("echo", "1.0.0", "O(1)", "Answers with its argument."),
    ("hello", "6.0.0", "O(1)", "Chooses the protocol's version, and tells what the server is."),
    ("ping", "1.0.0", "O(1)", "Answers, so that one knows that the server does."),
    ("quit", "1.0.0", "O(1)", "Ends the connection."),
    ("reset", "6.2.0", "O(1)", "Makes the connection as good as new."),
    ("select", "1.0.0", "O(1)", "Chooses the database."),
];

const SERVER: &[Row] = &[
    ("acl", "6.0.0", "by subcommand", "Tells what users may do."),
    ("acl|cat", "6.0.0", "O(N), N the commands", "Tells the categories of commands, or the commands of one."),
    ("acl|deluser", "6.0.0", "O(1)", "Refused: there is one user."),
    ("acl|genpass", "6.0.0", "O(1)", "Tells something that nobody can guess."),
    ("acl|getuser", "6.0.0", "O(1)", "Tells what a user may do."),
    ("acl|help", "6.0.0", "O(1)", "Lists the subcommands."),
    ("acl|list", "6.0.0", "O(1)", "Tells what all users may do."),
    ("acl|load", "6.0.0", "O(1)", "Refused: there is one user."),
    ("acl|log", "6.0.0", "O(1)", "Tells nothing: nobody is stopped."),
    ("acl|save", "6.0.0", "O(1)", "Refused: there is one user."),
    ("acl|setuser", "6.0.0", "O(1)", "Refused: there is one user."),
    ("acl|users", "6.0.0", "O(1)", "Tells the names of all users."),
    ("acl|whoami", "6.0.0", "O(1)", "Tells the name of the connection's user."),
    ("debug", "1.0.0", "by subcommand", "Looks into the server, for tests."),
    ("debug|help", "1.0.0", "O(1)", "Lists the subcommands."),
    ("debug|object", "1.0.0", "O(N), N the elements", "Tells how a key is kept."),
    ("debug|protocol", "6.0.0", "O(1)", "Answers with a reply of any type."),
    ("debug|quicklist-packed-threshold", "7.0.0", "O(1)", "Accepted, without effect."),
    ("debug|set-active-expire", "3.0.0", "O(1)", "Says whether expired keys are removed."),
    ("debug|sleep", "2.4.0", "O(1)", "Keeps a thread of the server busy."),
    ("latency", "2.8.13", "by subcommand", "Tells what took long."),
    ("latency|doctor", "2.8.13", "O(1)", "Tells people what took long."),
    ("latency|graph", "2.8.13", "O(1)", "Draws the samples of an event."),
    ("latency|help", "2.8.13", "O(1)", "Lists the subcommands."),
    ("latency|histogram", "7.0.0", "O(N), N the commands", "Tells how many calls of commands took how long."),
    ("latency|history", "2.8.13", "O(1)", "Tells the samples of an event."),
    ("latency|latest", "2.8.13", "O(1)", "Tells the newest sample of each event."),
    ("latency|reset", "2.8.13", "O(1)", "Forgets samples."),
    ("memory|doctor", "4.0.0", "O(1)", "Tells people how memory is used."),
    ("memory|malloc-stats", "4.0.0", "O(1)", "Says that the allocator keeps no account."),
    ("memory|purge", "4.0.0", "O(1)", "Accepted: free memory is given back by itself."),
    ("memory|stats", "4.0.0", "O(1)", "Tells how memory is used."),
    ("monitor", "1.0.0", "", "Shows the connection what all clients do."),
    ("slowlog", "2.2.12", "by subcommand", "Tells the commands that took long."),
    ("slowlog|get", "2.2.12", "O(N), N the entries told", "Tells the newest entries."),
    ("slowlog|help", "6.2.0", "O(1)", "Lists the subcommands."),
    ("slowlog|len", "2.2.12", "O(1)", "Counts the entries."),
    ("slowlog|reset", "2.2.12", "O(N), N the entries", "Forgets all entries."),
    ("bgsave", "1.0.0", "O(1)", "Has all data written to disk in a snapshot."),
    ("command", "2.8.13", "O(N), N the commands", "Describes the commands that there are."),
    ("command|count", "2.8.13", "O(1)", "Counts the commands."),
    ("command|docs", "7.0.0", "O(N), N the commands asked for", "Tells what commands do."),
    ("command|getkeys", "2.8.13", "O(N), N the arguments", "Picks the keys out of a whole command."),
    ("command|getkeysandflags", "7.0.0", "O(N), N the arguments", "Picks the keys out, with their flags."),
    ("command|help", "5.0.0", "O(1)", "Lists the subcommands."),
    ("command|info", "2.8.13", "O(N), N the commands asked for", "Tells how commands are called."),
    ("command|list", "7.0.0", "O(N), N the commands", "Names the commands."),
    ("config", "2.0.0", "by subcommand", "Reads and changes parameters."),
    ("config|get", "2.0.0", "O(N), N the parameters and patterns", "Tells the values of parameters."),
    ("config|help", "5.0.0", "O(1)", "Lists the subcommands."),
    ("config|resetstat", "2.0.0", "O(1)", "Sets statistics back to zero."),
    ("config|rewrite", "2.8.0", "O(1)", "Would save parameters to the configuration file."),
    ("config|set", "2.0.0", "O(N), N the parameters given", "Changes parameters."),
    ("dbsize", "1.0.0", "O(1)", "Counts the keys of the database."),
    ("feed", "0.1.0", "by subcommand", "Reads and merges the writes of nodes: the agents' side door."),
    ("feed|answer", "0.1.0", "O(N), N the answer", "Answers what a peer's node asks."),
    ("feed|apply", "0.1.0", "O(N), N the changes", "Merges a batch of another node's writes."),
    #[cfg(feature = "simulation")]
    ("feed|corrupt", "0.1.0", "O(1)", "Flips a bit of a key's value, as failing memory does."),
    #[cfg(feature = "simulation")]
    ("feed|lose", "0.1.0", "O(1)", "Loses a key, as failing memory does."),
    (
        "feed|converse",
        "0.1.0",
        "O(N), N the answer",
        "Tells what to ask a peer's node, and takes its answer.",
    ),
    ("feed|follow", "0.1.0", "O(N), N the batches", "Streams the writes of chosen origins."),
    ("feed|backup", "0.1.0", "O(N), N the keys", "Streams all data, as a snapshot and the log behind it."),
    ("feed|group", "0.1.0", "O(1)", "Makes the node a member of a group."),
    ("feed|ready", "0.1.0", "O(N) with N peers", "Says whether a load balancer may send clients here."),
    ("feed|heard", "0.1.0", "O(1)", "Moves the clock past that of a peer."),
    ("feed|help", "0.1.0", "O(1)", "Lists the subcommands."),
    ("feed|info", "0.1.0", "O(N), N the origins", "Tells the node's identity, frontier and clock."),
    (
        "feed|reissue",
        "0.1.0",
        "O(N), N the keys, in the background",
        "Puts back a clock that was ahead, and writes once more what it stamped.",
    ),
    ("feed|forget", "0.1.0", "O(N), N the members", "Evicts a member of the group for good."),
    ("feed|members", "0.1.0", "O(N), N the members", "Lists the members of the group."),
    ("feed|repair", "0.1.0", "O(1)", "Begins to take over what differs from a peer's data."),
    ("feed|messages", "0.1.0", "O(1)", "Tells what clients of this node publish."),
    ("feed|deliver", "0.1.0", "O(N), N those who listen", "Hands clients what was published elsewhere."),
    ("feed|verified", "0.1.0", "O(1)", "Tells how far a comparison is."),
    ("feed|verify", "0.1.0", "O(1)", "Begins to compare the node's data with a peer's."),
    ("feed|peers", "0.1.0", "O(N), N the links and origins", "Takes an agent's report of links and members."),
    ("flushall", "1.0.0", "O(N), N the keys", "Removes all keys of all databases."),
    ("flushdb", "1.0.0", "O(N), N the keys", "Removes all keys of the database."),
    ("info", "1.0.0", "O(1)", "Tells how the server is and what it has done."),
    ("lastsave", "1.0.0", "O(1)", "Tells when the last snapshot was written."),
    ("replicaof", "5.0.0", "O(1)", "Answered for the sake of tools: agents replicate here."),
    ("role", "2.8.12", "O(1)", "Tells that the server takes writes."),
    ("save", "1.0.0", "O(N), N the keys", "Writes all data to disk in a snapshot, and waits for it."),
    ("shutdown", "1.0.0", "O(N), N the bytes not on disk yet", "Stops the server."),
    ("slaveof", "1.0.0", "O(1)", "The old name of REPLICAOF."),
    ("time", "2.6.0", "O(1)", "Tells the server's time."),
];

const GENERIC: &[Row] = &[
    ("copy", "6.2.0", "O(N), N the size of the value", "Copies a key's value and expiry to another key."),
    ("del", "1.0.0", "O(N), N the keys", "Removes keys."),
    ("exists", "1.0.0", "O(N), N the keys", "Counts which of the keys exist."),
    ("expire", "1.0.0", "O(1)", "Lets a key expire some seconds from now."),
    ("expireat", "1.2.0", "O(1)", "Lets a key expire at a moment given in seconds."),
    ("expiretime", "7.0.0", "O(1)", "Tells the second at which a key expires."),
    ("keys", "1.0.0", "O(N), N the keys of the database", "Finds the keys that match a pattern."),
    ("move", "1.0.0", "O(N), N the size of the value", "Moves a key to another database."),
    ("object", "2.2.3", "by subcommand", "Tells how a value is kept."),
    ("object|encoding", "2.2.3", "O(1)", "Tells the form in which a value is kept."),
    ("object|freq", "4.0.0", "O(1)", "Tells how often a key is used."),
    ("object|help", "6.2.0", "O(1)", "Lists the subcommands."),
    ("object|idletime", "2.2.3", "O(1)", "Tells for how long a key was not used."),
    ("memory", "4.0.0", "by subcommand", "Tells what is kept in memory."),
    ("memory|help", "4.0.0", "O(1)", "Lists the subcommands."),
    ("memory|usage", "4.0.0", "O(N), N the elements", "Tells how many bytes a key takes."),
    ("object|refcount", "2.2.3", "O(1)", "Tells how many hold on to a value."),
    ("persist", "2.2.0", "O(1)", "Takes a key's expiry away."),
    ("pexpire", "2.6.0", "O(1)", "Lets a key expire some milliseconds from now."),
    ("pexpireat", "2.6.0", "O(1)", "Lets a key expire at a moment given in milliseconds."),
    ("pexpiretime", "7.0.0", "O(1)", "Tells the millisecond at which a key expires."),
    ("pttl", "2.6.0", "O(1)", "Tells the milliseconds until a key expires."),
    ("randomkey", "1.0.0", "O(1)", "Picks any key."),
    ("rename", "1.0.0", "O(N), N the size of the value", "Moves a value to another key, whatever is there."),
    (
        "renamenx",
        "1.0.0",
        "O(N), N the size of the value",
        "Moves a value to another key if nothing is there.",
    ),
    ("scan", "2.8.0", "O(1) a call, O(N) in all", "Goes through the keys in many short calls."),
    ("sort", "1.0.0", "O(N+M*log(M)), N the elements, M those sorted", "Tells or stores elements in order."),
    ("sort_ro", "7.0.0", "O(N+M*log(M)), N the elements, M those sorted", "Tells elements in order."),
    ("touch", "3.2.1", "O(N), N the keys", "Makes keys count as just used."),
    ("ttl", "1.0.0", "O(1)", "Tells the seconds until a key expires."),
    ("type", "1.0.0", "O(1)", "Tells what kind of value a key holds."),
    ("unlink", "4.0.0", "O(N), N the keys", "Removes keys; here the same as DEL."),
    ("wait", "3.0.0", "O(1)", "Waits until linked members hold this connection's writes."),
];

const STRING: &[Row] = &[
    ("append", "2.0.0", "O(N), N the string's bytes", "Adds bytes to the end of a string."),
    ("decr", "1.0.0", "O(1)", "Takes one from a number."),
    ("decrby", "1.0.0", "O(1)", "Takes an integer from a number."),
    ("get", "1.0.0", "O(1)", "Reads a string."),
    ("getdel", "6.2.0", "O(1)", "Reads a string and removes its key."),
    ("getex", "6.2.0", "O(1)", "Reads a string and changes when its key expires."),
    ("getrange", "2.4.0", "O(N), N the bytes read", "Reads a part of a string."),
    ("getset", "1.0.0", "O(1)", "Writes a string and tells the one before."),
    ("incr", "1.0.0", "O(1)", "Adds one to a number."),
    ("incrby", "1.0.0", "O(1)", "Adds an integer to a number."),
    ("incrbyfloat", "2.6.0", "O(1)", "Adds a decimal to a number."),
    ("lcs", "7.0.0", "O(N*M), N and M the lengths", "Finds the longest subsequence that two strings share."),
    ("mget", "1.0.0", "O(N), N the keys", "Reads several strings at once."),
    ("mset", "1.0.1", "O(N), N the keys", "Writes several strings at once."),
    ("msetnx", "1.0.1", "O(N), N the keys", "Writes several strings if none of the keys exists."),
    ("psetex", "2.6.0", "O(1)", "Writes a string that expires some milliseconds from now."),
    ("set", "1.0.0", "O(1)", "Writes a string, whatever the key held."),
    ("setex", "2.0.0", "O(1)", "Writes a string that expires some seconds from now."),
    ("setnx", "1.0.0", "O(1)", "Writes a string if its key does not exist."),
    ("setrange", "2.2.0", "O(N), N the string's bytes", "Writes over a part of a string."),
    ("strlen", "2.2.0", "O(1)", "Counts a string's bytes."),
    ("substr", "1.0.0", "O(N), N the bytes read", "The old name of GETRANGE."),
];

const BITMAP: &[Row] = &[
    ("bitcount", "2.6.0", "O(N), N the bytes looked at", "Counts the bits that are set."),
    ("bitfield", "3.2.0", "O(N), N the operations", "Reads and writes integers of any width in a string."),
    ("bitfield_ro", "6.0.0", "O(N), N the operations", "Reads integers of any width within a string."),
    ("bitop", "2.6.0", "O(N), N the longest string's bytes", "Combines strings bit by bit into another."),
    ("bitpos", "2.8.7", "O(N), N the bytes looked at", "Finds the first bit that is set, or clear."),
    ("getbit", "2.2.0", "O(1)", "Reads a bit."),
    ("setbit", "2.2.0", "O(N), N the string's bytes", "Writes a bit and tells what it was."),
];

const TRANSACTIONS: &[Row] = &[
    ("discard", "2.0.0", "O(N), N the commands", "Forgets the queued commands."),
    ("exec", "1.2.0", "as the queued commands", "Carries out the queued commands as one."),
    ("multi", "1.2.0", "O(1)", "Begins to queue commands."),
    ("unwatch", "2.2.0", "O(1)", "Watches no key any more."),
    ("watch", "2.2.0", "O(N), N the keys", "Lets the next EXEC fail if a key has changed by then."),
];

const HASH: &[Row] = &[
    ("hset", "2.0.0", "O(N), N the pairs", "Writes fields."),
    ("hsetnx", "2.0.0", "O(1)", "Writes a field unless it is there."),
    ("hmset", "2.0.0", "O(N), N the pairs", "Writes fields; as HSET."),
    ("hdel", "2.0.0", "O(N), N the fields", "Removes fields."),
    ("hincrby", "2.0.0", "O(1)", "Adds a whole number to a field."),
    ("hincrbyfloat", "2.6.0", "O(1)", "Adds a number to a field."),
    ("hget", "2.0.0", "O(1)", "Tells a field's value."),
    ("hmget", "2.0.0", "O(N), N the fields", "Tells several fields' values."),
    ("hlen", "2.0.0", "O(1)", "Counts the fields."),
    ("hstrlen", "3.2.0", "O(1)", "Tells how long a field's value is."),
    ("hexists", "2.0.0", "O(1)", "Tells whether there is such a field."),
    ("hkeys", "2.0.0", "O(N), N the fields", "Names all fields."),
    ("hvals", "2.0.0", "O(N), N the fields", "Tells all values."),
    ("hgetall", "2.0.0", "O(N), N the fields", "Tells all fields and their values."),
    ("hrandfield", "6.2.0", "O(N), N the fields told", "Names fields at random."),
    ("hscan", "2.8.0", "O(N), N the fields told", "Goes through the fields, some at a time."),
];

const SET: &[Row] = &[
    ("sadd", "1.0.0", "O(N), N the members", "Adds members."),
    ("srem", "1.0.0", "O(N), N the members", "Removes members."),
    ("smove", "1.0.0", "O(1)", "Moves a member to another set."),
    ("spop", "1.0.0", "O(N), N the members told", "Removes members at random, and tells them."),
    ("srandmember", "1.0.0", "O(N), N the members told", "Tells members at random."),
    ("sismember", "1.0.0", "O(1)", "Tells whether there is such a member."),
    ("smismember", "6.2.0", "O(N), N the members asked for", "Tells which of these are members."),
    ("scard", "1.0.0", "O(1)", "Counts the members."),
    ("smembers", "1.0.0", "O(N), N the members", "Tells all members."),
    ("sscan", "2.8.0", "O(N), N the members told", "Goes through the members, some at a time."),
    (
        "sinter",
        "1.0.0",
        "O(N*M), N the members of the smallest of M sets",
        "Tells what is in all of the sets.",
    ),
    (
        "sintercard",
        "7.0.0",
        "O(N*M), N the members of the smallest of M sets",
        "Counts what is in all of the sets.",
    ),
    (
        "sinterstore",
        "1.0.0",
        "O(N*M), N the members of the smallest of M sets",
        "Stores what is in all of the sets.",
    ),
    ("sunion", "1.0.0", "O(N), N the members of all sets", "Tells what is in any of the sets."),
    ("sunionstore", "1.0.0", "O(N), N the members of all sets", "Stores what is in any of the sets."),
    (
        "sdiff",
        "1.0.0",
        "O(N*M), N the members of the first of M sets",
        "Tells what is in the first set only.",
    ),
    (
        "sdiffstore",
        "1.0.0",
        "O(N*M), N the members of the first of M sets",
        "Stores what is in the first set only.",
    ),
];

const SORTED_SET: &[Row] = &[
    ("zadd", "1.2.0", "O(log N) per member", "Adds members, and sets scores."),
    ("zincrby", "1.2.0", "O(log N)", "Adds to a member's score."),
    ("zrem", "1.2.0", "O(log N) per member", "Removes members."),
    ("zremrangebyrank", "2.0.0", "O(log N + M), M the members removed", "Removes members by rank."),
    ("zremrangebyscore", "1.2.0", "O(log N + M), M the members removed", "Removes members by score."),
    ("zremrangebylex", "2.8.9", "O(log N + M), M the members removed", "Removes members by name."),
    (
        "zpopmin",
        "5.0.0",
        "O(log N) per member",
        "Removes the members with the lowest scores, and tells them.",
    ),
    (
        "zpopmax",
        "5.0.0",
        "O(log N) per member",
        "Removes the members with the highest scores, and tells them.",
    ),
    (
        "zmpop",
        "7.0.0",
        "O(K + M log N), K the keys, M the members removed",
        "Removes members from the first set that has any.",
    ),
    (
        "bzpopmin",
        "5.0.0",
        "O(K + log N), K the keys",
        "Removes the member with the lowest score, and waits for one.",
    ),
    (
        "bzpopmax",
        "5.0.0",
        "O(K + log N), K the keys",
        "Removes the member with the highest score, and waits for one.",
    ),
    (
        "bzmpop",
        "7.0.0",
        "O(K + M log N), K the keys, M the members removed",
        "Removes members from the first set that has any, and waits for some.",
    ),
    ("zcard", "1.2.0", "O(1)", "Counts the members."),
    ("zcount", "2.0.0", "O(log N)", "Counts members by score."),
    ("zlexcount", "2.8.9", "O(log N)", "Counts members by name."),
    ("zscore", "1.2.0", "O(1)", "Tells a member's score."),
    ("zmscore", "6.2.0", "O(N), N the members asked for", "Tells several members' scores."),
    ("zrank", "2.0.0", "O(log N)", "Tells a member's rank, from the lowest score."),
    ("zrevrank", "2.0.0", "O(log N)", "Tells a member's rank, from the highest score."),
    ("zrandmember", "6.2.0", "O(N), N the members told", "Tells members at random."),
    ("zscan", "2.8.0", "O(N), N the members told", "Goes through the members, some at a time."),
    ("zrange", "1.2.0", "O(log N + M), M the members told", "Tells members by rank, score or name."),
    ("zrangebyscore", "1.0.5", "O(log N + M), M the members told", "Tells members by score."),
    ("zrangebylex", "2.8.9", "O(log N + M), M the members told", "Tells members by name."),
    ("zrevrange", "1.2.0", "O(log N + M), M the members told", "Tells members by rank, highest first."),
    (
        "zrevrangebyscore",
        "2.2.0",
        "O(log N + M), M the members told",
        "Tells members by score, highest first.",
    ),
    ("zrevrangebylex", "2.8.9", "O(log N + M), M the members told", "Tells members by name, last first."),
    ("zrangestore", "6.2.0", "O(log N + M), M the members stored", "Stores members by rank, score or name."),
    (
        "zunion",
        "6.2.0",
        "O(N + M log M), N the members of all sets, M of the result",
        "Tells what is in any of the sets.",
    ),
    (
        "zinter",
        "6.2.0",
        "O(N*K + M log M), N the members of the smallest of K sets",
        "Tells what is in all of the sets.",
    ),
    (
        "zdiff",
        "6.2.0",
        "O(N*K + M log M), N the members of the first of K sets",
        "Tells what is in the first set only.",
    ),
    (
        "zintercard",
        "7.0.0",
        "O(N*K), N the members of the smallest of K sets",
        "Counts what is in all of the sets.",
    ),
    (
        "zunionstore",
        "2.0.0",
        "O(N + M log M), N the members of all sets, M of the result",
        "Stores what is in any of the sets.",
    ),
    (
        "zinterstore",
        "2.0.0",
        "O(N*K + M log M), N the members of the smallest of K sets",
        "Stores what is in all of the sets.",
    ),
    (
        "zdiffstore",
        "6.2.0",
        "O(N*K + M log M), N the members of the first of K sets",
        "Stores what is in the first set only.",
    ),
];

const PUBSUB: &[Row] = &[
    ("subscribe", "2.0.0", "O(N), N the channels", "Listens to channels."),
    ("psubscribe", "2.0.0", "O(N), N the patterns", "Listens to all channels whose names match."),
    ("unsubscribe", "2.0.0", "O(N), N the channels", "Listens to channels no longer."),
    ("punsubscribe", "2.0.0", "O(N), N the patterns", "Listens to patterns of channels no longer."),
    (
        "publish",
        "2.0.0",
        "O(N + M), N those who listen to the channel, M the patterns",
        "Sends a message to those who listen to a channel.",
    ),
    ("pubsub", "2.8.0", "", "Tells who listens to what."),
    ("pubsub|help", "6.2.0", "O(1)", "Tells the subcommands."),
    ("pubsub|channels", "2.8.0", "O(N), N the channels", "Tells the channels that somebody listens to."),
    ("pubsub|numsub", "2.8.0", "O(N), N the channels asked for", "Counts who listens to channels."),
    ("pubsub|numpat", "2.8.0", "O(1)", "Counts the patterns that somebody listens to."),
    ("pubsub|shardchannels", "7.0.0", "O(1)", "Nothing: there are no shards."),
    ("pubsub|shardnumsub", "7.0.0", "O(N), N the channels asked for", "Nobody: there are no shards."),
];

const LIST: &[Row] = &[
    ("lpush", "1.0.0", "O(log N) per element", "Puts elements before the first."),
    ("rpush", "1.0.0", "O(log N) per element", "Puts elements behind the last."),
    ("lpushx", "2.2.0", "O(log N) per element", "Puts elements before the first of a list that is there."),
    ("rpushx", "2.2.0", "O(log N) per element", "Puts elements behind the last of a list that is there."),
    ("lpop", "1.0.0", "O(log N) per element", "Removes the first elements, and tells them."),
    ("rpop", "1.0.0", "O(log N) per element", "Removes the last elements, and tells them."),
    ("lmove", "6.2.0", "O(log N)", "Moves an element from an end of one list to an end of another."),
    ("rpoplpush", "1.2.0", "O(log N)", "Moves the last element of one list before the first of another."),
    (
        "lmpop",
        "7.0.0",
        "O(K + M log N), K the keys, M the elements removed",
        "Removes elements from the first list that has any.",
    ),
    ("blpop", "2.0.0", "O(K + log N), K the keys", "Removes the first element of a list, and waits for one."),
    ("brpop", "2.0.0", "O(K + log N), K the keys", "Removes the last element of a list, and waits for one."),
    ("blmove", "6.2.0", "O(log N)", "Moves an element to another list, and waits for one."),
    (
        "brpoplpush",
        "2.2.0",
        "O(log N)",
        "Moves a last element before the first of another list, and waits for one.",
    ),
    (
        "blmpop",
        "7.0.0",
        "O(K + M log N), K the keys, M the elements removed",
        "Removes elements from the first list that has any, and waits for some.",
    ),
    ("linsert", "2.2.0", "O(N)", "Puts an element beside another."),
    ("lset", "1.0.0", "O(log N)", "Replaces an element."),
    ("lrem", "1.0.0", "O(N)", "Removes elements that equal this one."),
    ("ltrim", "1.0.0", "O(M log N), M the elements removed", "Removes all elements but a range."),
    ("llen", "1.0.0", "O(1)", "Counts the elements."),
    ("lindex", "1.0.0", "O(log N)", "Tells an element."),
    ("lrange", "1.0.0", "O(log N + M), M the elements told", "Tells a range of elements."),
    ("lpos", "6.0.6", "O(N)", "Tells where elements are that equal this one."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::table;

    #[test]
    fn every_command_is_told_of_once_and_nothing_else() {
        let told: Vec<&str> = GROUPS.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.0)).collect();
        let commands: BTreeSet<&str> = table::all().map(|row| row.name).collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), commands);
        assert_eq!(told.len(), commands.len());
    }
}
