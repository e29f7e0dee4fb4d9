//! The trait `Workspaces`, which tools call, and its backends.
