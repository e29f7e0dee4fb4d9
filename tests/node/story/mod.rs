//! The whole story of workspaces, as agents and their people live it.

mod apart;
mod deployed;
mod guide;
mod life;
mod repository;
mod shared;
