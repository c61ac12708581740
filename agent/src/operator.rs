//! What operators ask of a running agent: over its control socket, a line of JSON for a question, lines of JSON for the
//! answer. The agent passes it on to its node, but for the peers that it dials.
//!
//! ```text
//! {"command":"members"}                            -> {"type":"result","result":...}
//! {"command":"forget","name":"b"}                  -> {"type":"result","result":...}
//! {"command":"reissue"}                            -> {"type":"result","result":...}
//! {"command":"peers"}                              -> {"type":"result","result":[{"url":...},...]}
//! {"command":"add-peer","url":"ws://b:7100"}       -> the same, after the change; and so for remove-peer
//! {"command":"verify","peer":"b","deep":true}      -> {"type":"progress","peer":"b","status":{...}}, and at the end
//! {"command":"repair","peer":null}                    {"type":"compared","peer":"b","status":{...}} for each peer
//!                                                  -> {"type":"error","error":"..."} ends any of these
//! ```

use serde::{Deserialize, Serialize};
use shared::feed::VerifyStatus;

pub(crate) mod client;

mod server;

mod table;

pub(crate) use server::{ControlSocket, OperatorDesk};

/// The longest question, in bytes; a longer one is refused.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "an unknown command, or one without what it takes")]
pub(crate) enum Request {
    /// Of the agent.
    Dialling(DiallingRequest),
    /// Of its node.
    Node(NodeRequest),
}

/// What is asked about the peers that are dialled. The answer is who they are afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum DiallingRequest {
    /// Who they are.
    Peers,
    /// Dial a peer from now on.
    AddPeer {
        /// Where its agent listens.
        url: String,
    },
    /// Dial a peer no longer.
    RemovePeer {
        /// As it was given.
        url: String,
    },
}

/// What the node is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum NodeRequest {
    /// Who the members of the group are.
    Members,
    /// A member will not come back: nobody is to wait for it.
    Forget {
        /// Its name.
        name: String,
    },
    /// Compare the node with those of linked peers.
    Verify {
        /// With this one only.
        #[serde(default)]
        peer: Option<String>,
        /// Also values and expiry, not only versions.
        #[serde(default)]
        deep: bool,
    },
    /// Make good the differences to those of linked peers.
    Repair {
        /// To this one only.
        #[serde(default)]
        peer: Option<String>,
    },
    /// Put back the node's clock, which was ahead, and write anew what it had stamped with the future.
    Reissue {
        /// Although others are ahead of it as well.
        #[serde(default)]
        force: bool,
    },
}

impl From<DiallingRequest> for Request {
    fn from(request: DiallingRequest) -> Self {
        Self::Dialling(request)
    }
}

impl From<NodeRequest> for Request {
    fn from(request: NodeRequest) -> Self {
        Self::Node(request)
    }
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Response {
    /// What the node says. The last line.
    Result {
        /// As the node has it.
        result: serde_json::Value,
    },
    /// How far it is with a peer.
    Progress {
        /// The peer's name.
        peer: String,
        /// How far.
        status: VerifyStatus,
    },
    /// It is done with a peer.
    Compared {
        /// The peer's name.
        peer: String,
        /// What came of it.
        status: VerifyStatus,
    },
    /// It cannot be done. The last line.
    Error {
        /// Why.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_the_agents_or_the_nodes() {
        let read = |line: &str| serde_json::from_str::<Request>(line);
        let url = "ws://b:7100".to_owned();
        assert_eq!(
            read(r#"{"command":"add-peer","url":"ws://b:7100"}"#).unwrap(),
            DiallingRequest::AddPeer { url }.into()
        );
        assert_eq!(
            read(r#"{"command":"verify","deep":true}"#).unwrap(),
            NodeRequest::Verify { peer: None, deep: true }.into()
        );
        for line in [r#"{"command":"dance"}"#, r#"{"command":"forget"}"#, "{}"] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains("unknown command, or one without what it takes"), "{line}: {error}");
        }
    }
}
