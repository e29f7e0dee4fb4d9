//! What requests share: places, and the memory that their bodies, the answers of agents and unsent responses take.
//!
//! [`Pool`] is the fair division of either; [`Account`] is what one request has taken of the memory. A body or answer
//! up to [`SMALL`] charges nothing: the place of its request pays for it, so that small requests never wait for large
//! ones.

mod account;
mod body;
mod pool;

pub use account::{Account, NoMemory};
pub use body::{Parts, ReadError, read};
pub use pool::{Holder, Holders, Pool, Taken, Unavailable};
pub use portcullis_core::limits::{BODY_COPIES, SMALL};
