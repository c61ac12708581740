//! Reads the answers of `FEED INFO` and `FEED PEERS`.

use std::collections::BTreeMap;
use std::str::FromStr;

use shared::feed::FeedInfo;
use shared::resp::Value;
use shared::time::WallMillis;

use crate::hub::NodePoint;

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
        joining: field::<u8>(&fields, "joining")? != 0,
        origin: field(&fields, "origin")?,
        role: field(&fields, "role")?,
        frontier: field(&fields, "frontier")?,
        clock: field(&fields, "clock")?,
        wall: WallMillis(field(&fields, "wall")?),
        start_time: WallMillis(field(&fields, "start-time")?),
        log_start: field(&fields, "log-start")?,
        batch_format: field(&fields, "batch-format")?,
        max_clock_drift_ms: field(&fields, "max-clock-drift")?,
    })
}

/// Reads `[frontier, clock, pull frontier, announcement]`.
pub(crate) fn parse_peers_reply(value: &Value<'_>) -> Option<NodePoint> {
    let Value::Array(items) = value else { return None };
    let [frontier, clock, pulled, Value::Bulk(announcement)] = items.as_slice() else { return None };
    let announcement = match announcement {
        [] => None,
        bytes => Some(rmp_serde::from_slice(bytes).ok()?),
    };
    Some(NodePoint {
        frontier: text(frontier)?.parse().ok()?,
        clock: text(clock)?.parse().ok()?,
        pulled: text(pulled)?.parse().ok()?,
        announcement,
    })
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

#[cfg(test)]
mod tests {
    use shared::announcement::{Announcement, Member, Role};
    use shared::clock::Timestamp;
    use shared::id::{NodeId, Origin};
    use shared::version::Frontier;

    use super::*;

    #[test]
    fn info_is_read_from_either_protocol() {
        let fields = [
            ("node-id", "00000000000000aa"),
            ("name", "left"),
            ("group", ""),
            ("group-id", "0000000000000000"),
            ("joining", "1"),
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
            (info.node_id, info.clock, info.max_clock_drift_ms, info.joining),
            (NodeId(0xaa), Timestamp(0x21), 5_000, true)
        );
        assert_eq!(parse_info(&Value::Map(Vec::new())), None);
    }

    #[test]
    fn a_report_is_answered_with_the_nodes_announcement() {
        let member = Member { name: "a".into(), node_id: NodeId(1), origin: Origin(2), role: Role::Active };
        let announcement = Announcement {
            member,
            sequence: 0x21,
            frontier: Frontier::new(),
            clock: Timestamp(0x21),
            members: Vec::new(),
            evictions: Vec::new(),
            memory_limit: 7,
            joining: false,
            runs: vec![Origin(1), Origin(2)],
        };
        let packed = rmp_serde::to_vec(&announcement).unwrap();
        let reply = |announcement: &'static [u8]| {
            let texts = [&b"0000000000000002:20;0"[..], b"21", b"0000000000000002:30;0", announcement];
            parse_peers_reply(&Value::Array(texts.into_iter().map(Value::Bulk).collect()))
        };
        let point = reply(packed.leak()).unwrap();
        assert_eq!(point.announcement, Some(announcement));
        assert_eq!((point.clock, point.pulled.get(Origin(2))), (Timestamp(0x21), Timestamp(0x30)));
        assert_eq!(reply(b"").unwrap().announcement, None);
        assert_eq!(reply(b"x"), None);
    }
}
