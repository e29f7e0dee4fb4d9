//! Limits whose defaults custom resources and configuration share.

/// How many connections a server may have open.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 1000;
