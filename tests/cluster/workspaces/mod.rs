//! Workspaces as custom resources, looked after with exactly the rights that servers have. There is no node here: the
//! tests say what the operator would find.

mod access;
mod index;
mod lifecycle;
mod stage;
