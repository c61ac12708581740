//! The protocol between agents.
