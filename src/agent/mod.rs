//! What runs inside a workspace.
