//! The audit trail: one typed [`Event`] for each fact, written as one log line with the target `audit`.
//!
//! Names follow the scheme `object.past_participle`. The fields of an event are ids, names, reasons and numbers; no
//! field holds a token, a secret, a password or the arguments of a tool. `docs/audit.md` is generated from
//! [`Event::SCHEMA`] and [`FIELDS`].

mod event;
mod field;
mod refused;
mod request;

pub use event::{Event, FIELDS, FieldSchema, Schema, Source};
pub use refused::FormRefused;
pub use request::{RequestContext, RequestId, RequestIds};

/// The target of the log lines.
pub const TARGET: &str = "audit";
