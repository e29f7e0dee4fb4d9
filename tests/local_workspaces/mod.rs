//! The local backend with real folders and real processes: life cycle, limits, isolation, and that nothing is left
//! running.

mod commands;
mod fixture;
mod lifecycle;
