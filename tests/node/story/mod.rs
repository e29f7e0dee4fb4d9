//! The whole story of workspaces, as agents and their people live it.

mod deployed;
