//! Limits that custom resources, configuration and servers share.

/// The default of the maximum number of open connections of a server.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 1000;

/// The maximum size in bytes of a body or response that is not charged to the budget.
pub const SMALL: u64 = 32 << 10;
/// The number of copies of a body in memory at the same time: as received, as parsed, and as sent to the workspace
/// agent.
pub const BODY_COPIES: u64 = 3;
