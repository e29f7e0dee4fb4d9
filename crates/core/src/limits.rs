//! Limits whose defaults custom resources and configuration share.

/// How many connections a server may have open.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 1000;

/// A body or answer up to this size charges nothing to the budget.
pub const SMALL: u64 = 32 << 10;
/// How often a body is in memory at once: as it arrived, as it was parsed, and as it goes to the agent.
pub const BODY_COPIES: u64 = 3;
