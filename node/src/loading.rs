//! The time between a node's start and when its directory is loaded: clients are connected, and told to wait.
//!
//! Idea: until then a stand-in is in the place of the node, which holds nothing. Commands that need no data work on it, so
//! that clients may introduce themselves and tools may see how far the loading is; all others are refused with `-LOADING`.

use std::ops::Deref;
use std::sync::OnceLock;

use crate::command::{Command, Keys};
use crate::node::Node;

/// A place for a node, which may come later. It is put in once.
pub(crate) struct NodePlace {
    stand_in: Option<Box<Node>>,
    node: OnceLock<Node>,
}

impl NodePlace {
    /// With the node in it.
    pub(crate) fn of(node: Node) -> Self {
        Self { stand_in: None, node: OnceLock::from(node) }
    }

    /// For a node that is being loaded.
    pub(crate) fn awaiting(stand_in: Node) -> Self {
        Self { stand_in: Some(Box::new(stand_in)), node: OnceLock::new() }
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.node.get().is_none()
    }

    /// The node is loaded.
    pub(crate) fn put(&self, node: Node) {
        assert!(self.node.set(node).is_ok(), "a node is loaded once");
    }
}

impl Deref for NodePlace {
    type Target = Node;

    fn deref(&self) -> &Node {
        let node = self.node.get().or(self.stand_in.as_deref());
        node.expect("without a stand-in the node is there from the beginning")
    }
}

/// Whether a command is carried out before the node is there. A WATCH would look at what is not there yet.
pub(crate) fn is_permitted(command: &Command) -> bool {
    command.has_flag("loading") && !matches!(command.keys, Keys::Range { .. })
}

#[cfg(test)]
mod tests {
    use shared::id::Origin;
    use shared::time::WallMillis;
    use slog::{Discard, Logger, o};

    use super::*;
    use crate::client::{Address, Client};
    use crate::command::execute::execute;
    use crate::config::{Config, Flags};
    use crate::node::tests::memory_node;
    use crate::server::{Parts, Server};

    fn server() -> Server {
        let (streams, _) = async_std::channel::bounded(1);
        Server::new(Parts {
            node: NodePlace::awaiting(memory_node(Origin(1))),
            config: Config::new(Flags::default()).unwrap(),
            logger: Logger::root(Discard, o!()),
            run_id: String::new(),
            streams,
            started: WallMillis(1_000),
        })
    }

    fn reply(server: &Server, client: &mut Client, command: &str) -> String {
        let arguments: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let mut out = Vec::new();
        execute(server, client, &arguments, server.clocks(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn until_the_node_is_loaded_clients_may_introduce_themselves_and_are_told_to_wait() {
        let server = server();
        let address = Address::Unix { path: String::new() };
        let client = &mut Client::new(server.clients.connect(address, 0, -1, WallMillis(0)));
        for command in ["GET a", "SET a 1", "PING", "DBSIZE", "WATCH a", "SAVE", "FEED INFO"] {
            assert_eq!(
                reply(&server, client, command),
                "-LOADING Redis is loading the dataset in memory\r\n",
                "{command}"
            );
        }
        assert_eq!(reply(&server, client, "SELECT 3"), "+OK\r\n");
        assert_eq!(reply(&server, client, "CONFIG SET maxclients 77"), "+OK\r\n");
        let info = reply(&server, client, "INFO persistence");
        assert!(info.contains("\nloading:1\r\n") && info.contains("\nloading_loaded_perc:"), "{info}");
        let info = reply(&server, client, "INFO replication");
        assert!(info.contains("\nready:0\r\ntakes_writes:0\r\n"), "{info}");
        assert_eq!(reply(&server, client, "MULTI"), "+OK\r\n");
        assert!(reply(&server, client, "GET a").starts_with("-LOADING"));

        server.put(memory_node(Origin(2)));
        assert!(reply(&server, client, "EXEC").starts_with("-EXECABORT"));
        assert_eq!(reply(&server, client, "SET a 1"), "+OK\r\n");
        assert_eq!((client.db, server.node.log.origin()), (3, Origin(2)));
        let info = reply(&server, client, "INFO replication");
        assert!(info.contains("\ntakes_writes:1\r\n"), "{info}");
        let info = reply(&server, client, "INFO persistence");
        assert!(info.contains("\nloading:0\r\n") && !info.contains("loading_loaded_perc"), "{info}");
    }
}
