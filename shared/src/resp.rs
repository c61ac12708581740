//! The protocol of Redis's clients.
