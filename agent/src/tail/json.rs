//! A change as a line of JSON.

use data_encoding::BASE64;
use serde::{Serialize, Serializer};
use shared::change::{CellId, Change, Contribution, Op, Sum, Value};
use shared::clock::Timestamp;
use shared::decimal::Decimal;
use shared::id::Origin;
use shared::version::Version;

/// One change, as it is printed. Fields that an operation does not have are left out.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    origin: String,
    timestamp: String,
    time_ms: u64,
    db: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Text<'a>>,
    #[serde(flatten)]
    op: Operation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<VersionLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Operation<'a> {
    Set {
        value: Text<'a>,
    },
    Reset,
    Cell {
        #[serde(flatten)]
        cell: CellLine<'a>,
        /// None is the cell's removal.
        value: Option<ValueLine<'a>>,
    },
    /// A running contribution to a counter, not a delta.
    Count {
        #[serde(flatten)]
        cell: CellLine<'a>,
        first: String,
        value: SumLine,
        #[serde(skip_serializing_if = "Option::is_none")]
        contributor: Option<String>,
    },
    Expire {
        /// When the key expires, in milliseconds since 1970; none is never.
        value: Option<u64>,
    },
    ObservedReset {
        value: VersionLine,
    },
    Mark {
        value: VersionLine,
        expiry_ms: u64,
    },
    FlushDb,
    FlushAll,
    ObservedFlush {
        value: VersionLine,
    },
}

#[derive(Debug, Serialize)]
struct CellLine<'a> {
    kind: &'static str,
    element: Text<'a>,
}

#[derive(Debug, Serialize)]
struct VersionLine {
    origin: String,
    timestamp: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ValueLine<'a> {
    Bytes(Text<'a>),
    Float(Float),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum SumLine {
    Int(i128),
    Float(Float),
    /// As text, for all of its digits count.
    Decimal(String),
}

/// A string where it can be one, else an object with its bytes.
#[derive(Debug)]
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Binary {
            base64: String,
        }
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Binary { base64: BASE64.encode(self.0) }.serialize(serializer),
        }
    }
}

/// A number, or the text of one that JSON lacks.
#[derive(Debug)]
struct Float(f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'a> Line<'a> {
    pub(super) fn new(
        origin: Origin,
        timestamp: Timestamp,
        change: &'a Change<'_>,
        cursor: Option<String>,
    ) -> Self {
        Self {
            origin: origin.to_string(),
            timestamp: timestamp.to_string(),
            time_ms: timestamp.wall().0,
            db: change.db,
            key: (!is_flush(&change.op)).then_some(Text(&change.key)),
            op: operation(&change.op),
            replaced: change.replaced.map(version),
            cursor,
        }
    }
}

fn operation<'a>(op: &'a Op<'_>) -> Operation<'a> {
    match op {
        Op::Set(value) => Operation::Set { value: Text(value) },
        Op::Reset => Operation::Reset,
        Op::Cell(id, value) => Operation::Cell { cell: cell(id), value: value.as_ref().map(cell_value) },
        Op::Count(id, Contribution { first, sum, restates }) => Operation::Count {
            cell: cell(id),
            first: first.to_string(),
            value: match sum {
                Sum::Int(sum) => SumLine::Int(*sum),
                Sum::Float(sum) => SumLine::Float(Float(*sum)),
                Sum::Decimal(units) => SumLine::Decimal(Decimal::of_units(*units).to_string()),
            },
            contributor: restates.map(|increment| increment.origin.to_string()),
        },
        Op::Expire(at) => Operation::Expire { value: at.map(|at| at.0) },
        Op::ObservedReset(at) => Operation::ObservedReset { value: version(*at) },
        Op::Mark { reset, expiry } => Operation::Mark { value: version(*reset), expiry_ms: expiry.0 },
        Op::FlushDb => Operation::FlushDb,
        Op::FlushAll => Operation::FlushAll,
        Op::ObservedFlush(at) => Operation::ObservedFlush { value: version(*at) },
    }
}

const fn is_flush(op: &Op<'_>) -> bool {
    matches!(op, Op::FlushDb | Op::FlushAll | Op::ObservedFlush(_))
}

fn cell<'a>(id: &'a CellId<'_>) -> CellLine<'a> {
    CellLine { kind: id.kind.name(), element: Text(&id.element) }
}

fn cell_value<'a>(value: &'a Value<'_>) -> ValueLine<'a> {
    match value {
        Value::Bytes(bytes) => ValueLine::Bytes(Text(bytes)),
        Value::Float(float) => ValueLine::Float(Float(*float)),
    }
}

fn version(version: Version) -> VersionLine {
    VersionLine { origin: version.origin.to_string(), timestamp: version.timestamp.to_string() }
}
