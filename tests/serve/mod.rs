//! `serve`, whole: the real server on real sockets, on files as a kubelet mounts them.

use crate::{clock, hoarding, mounted, replaced_agent};

mod stage;

mod address;
mod drain;
mod fair;
mod files;
mod limits;
mod origins;
mod protocol;
mod proxy;
mod silent;
mod slow;
mod tls;
