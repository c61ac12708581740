//! Reads the answers of `FEED INFO` and `FEED PEERS`.

use std::collections::BTreeMap;
use std::str::FromStr;

use shared::announcement::Role;
use shared::clock::Timestamp;
use shared::feed::FeedInfo;
use shared::resp::Value;
use shared::time::WallMillis;
use shared::version::Frontier;

/// What a node holds, and its hybrid clock at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePoint {
    pub(crate) frontier: Frontier,
    pub(crate) clock: Timestamp,
}

/// Reads a map of names to text; RESP2 sends it as an array.
pub(crate) fn parse_info(value: &Value<'_>) -> Option<FeedInfo> {
    let mut fields = BTreeMap::new();
    match value {
        Value::Map(pairs) => {
            for (name, value) in pairs {
                fields.insert(text(name)?, text(value)?);
            }
        }
        Value::Array(items) => {
            for pair in items.chunks_exact(2) {
                fields.insert(text(&pair[0])?, text(&pair[1])?);
            }
        }
        _ => return None,
    }
    Some(FeedInfo {
        node_id: field(&fields, "node-id")?,
        name: field(&fields, "name")?,
        group: field(&fields, "group")?,
        group_id: field(&fields, "group-id")?,
        origin: field(&fields, "origin")?,
        role: role(fields.get("role")?)?,
        frontier: field(&fields, "frontier")?,
        clock: field(&fields, "clock")?,
        wall: WallMillis(field(&fields, "wall")?),
        start_time: WallMillis(field(&fields, "start-time")?),
        log_start: field(&fields, "log-start")?,
        batch_format: field(&fields, "batch-format")?,
        max_clock_drift_ms: field(&fields, "max-clock-drift")?,
    })
}

/// Reads `[frontier, clock]`.
pub(crate) fn parse_peers_reply(value: &Value<'_>) -> Option<NodePoint> {
    let Value::Array(items) = value else { return None };
    let [frontier, clock] = items.as_slice() else { return None };
    Some(NodePoint { frontier: text(frontier)?.parse().ok()?, clock: text(clock)?.parse().ok()? })
}

pub(super) fn text<'a>(value: &Value<'a>) -> Option<&'a str> {
    match value {
        Value::Bulk(bytes) | Value::Simple(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn field<T: FromStr>(fields: &BTreeMap<&str, &str>, name: &str) -> Option<T> {
    fields.get(name)?.parse().ok()
}

fn role(name: &str) -> Option<Role> {
    [Role::Active, Role::ReadOnly].into_iter().find(|role| role.name() == name)
}

#[cfg(test)]
mod tests {
    use shared::id::NodeId;

    use super::*;

    #[test]
    fn info_is_read_from_either_protocol() {
        let fields = [
            ("node-id", "00000000000000aa"),
            ("name", "left"),
            ("group", ""),
            ("group-id", "0000000000000000"),
            ("origin", "00000000000000bb"),
            ("role", "active"),
            ("frontier", "00000000000000bb:20;0"),
            ("clock", "21"),
            ("wall", "1000"),
            ("start-time", "900"),
            ("log-start", ";0"),
            ("batch-format", "1"),
            ("max-clock-drift", "5000"),
            ("of-a-later-version", "x"),
        ];
        let bulk = |text: &'static str| Value::Bulk(text.as_bytes());
        let map = Value::Map(fields.iter().map(|(name, value)| (bulk(name), bulk(value))).collect());
        let array = Value::Array(fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect());
        let info = parse_info(&map).unwrap();
        assert_eq!(parse_info(&array).as_ref(), Some(&info));
        assert_eq!(
            (info.node_id, info.clock, info.max_clock_drift_ms),
            (NodeId(0xaa), Timestamp(0x21), 5_000)
        );
        assert_eq!(parse_info(&Value::Map(Vec::new())), None);
    }
}
