//! Messages between agents: any bytes, and what was understood says the same when it is said again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::link::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else { return };
    let again = message.encode();
    match Message::decode(&again) {
        Ok(read) => assert_eq!(read, message),
        Err(error) => panic!("{message:?} cannot be read again: {error}"),
    }
});
