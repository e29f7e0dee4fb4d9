//! The trait `Workspaces`, which tools call, and its backends.

/// Placeholder until merge.
pub trait Workspaces: Send + Sync {}
