//! Reads a node's change feed from code: every write of every master, as it arrives.
//!
//! With `./examples/two-masters.sh` running:
//!
//! ```text
//! cargo run -p examples --example read_feed -- 127.0.0.1:7001
//! redis-cli -p 7002 set greeting hello      (in another terminal)
//! ```
//!
//! and see the write, made at the other master, with its timestamp and origin. The frontier is the cursor: keep what
//! was printed last, and pass it as second argument to go on from there, at this node or any other.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use shared::batch::Batch;
use shared::resp::{ReplyDecoder, Value, encode_request};
use shared::version::Frontier;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let mut frontier: Frontier = arguments.next().as_deref().unwrap_or(";0").parse()?;
    let mut node = TcpStream::connect(&address)?;
    node.write_all(&follow_request(&frontier))?;

    let mut decoder = ReplyDecoder::new(shared::batch::BATCH_BYTES_MAX);
    let mut input = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        while let Some((reply, consumed)) = decoder.decode(&input)? {
            match reply {
                Value::Bulk(bytes) => print_batch(bytes, &mut frontier)?,
                Value::Error(text) => return Err(String::from_utf8_lossy(text).into()),
                _ => {}
            }
            input.drain(..consumed);
        }
        let length = node.read(&mut buffer)?;
        if length == 0 {
            return Err(format!("{address} has closed the feed; go on from {frontier}").into());
        }
        input.extend_from_slice(&buffer[..length]);
    }
}

/// Asks for what lies beyond the frontier, of every origin.
fn follow_request(frontier: &Frontier) -> Vec<u8> {
    let mut words = vec!["FEED".to_owned(), "FOLLOW".to_owned()];
    for (origin, at) in frontier.iter() {
        words.extend([origin.to_string(), at.to_string()]);
    }
    words.extend(["*".to_owned(), frontier.floor().to_string()]);
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let mut request = Vec::new();
    encode_request(&words, &mut request);
    request
}

fn print_batch(bytes: &[u8], frontier: &mut Frontier) -> Result<(), Box<dyn Error>> {
    let batch = Batch::decode(bytes)?;
    for change in batch.changes() {
        let (timestamp, change) = change?;
        let key = String::from_utf8_lossy(&change.key).into_owned();
        println!("{} {timestamp:?} db{} {key} {:?}", batch.header.origin, change.db, change.op);
    }
    frontier.advance(batch.header.origin, batch.header.upto);
    println!("cursor {frontier}");
    Ok(())
}
