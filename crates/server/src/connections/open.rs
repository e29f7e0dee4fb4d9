//! The open connections: their number, their addresses, and the choice of a connection to close at the limit.
//!
//! An address may have three quarters of the connections, so that a single address cannot exclude others; trusted
//! proxies may have all. At the limit, the connection with the longest idle time is closed, but never one with a
//! request.

use crate::connections::activity::Activity;
use portcullis_core::ip_ranges::network;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Notify, time::Instant};

/// The open connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    state: Mutex<OpenConnections>,
    /// Notified when a connection ends.
    freed: Notify,
}

#[derive(Debug, Default)]
struct OpenConnections {
    open: HashMap<u64, OpenConnection>,
    /// The number of counted connections of each address.
    by_address: HashMap<IpAddr, usize>,
    /// The number of connections, without those that were asked to close.
    counted: usize,
    next: u64,
}

#[derive(Debug)]
struct OpenConnection {
    from: IpAddr,
    trusted: bool,
    activity: Arc<Activity>,
    closing: bool,
    close: Arc<Notify>,
}

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// Every connection has a request in progress.
    Full,
    /// Every connection of its address has a request in progress, and the address has its share.
    Share,
}

/// The permit of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
    close: Arc<Notify>,
}

impl Connections {
    /// Creates the set with a maximum number of connections.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), freed: Notify::new() })
    }

    /// The maximum number of connections.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// The number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.state().open.len()
    }

    /// Waits until a connection ends.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Admits a connection from this address, and asks an idle one to close if the limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        from: IpAddr,
        trusted: bool,
        activity: &Arc<Activity>,
    ) -> Result<ConnectionPermit, NotAdmitted> {
        let from = network(from);
        let mut state = self.state();
        let share = self.most - self.most / 4;
        let has_share = state.by_address.get(&from).is_some_and(|count| *count >= share);
        if !trusted && has_share && share < self.most {
            state.close_idlest(|entry| entry.from == from && !entry.trusted).ok_or(NotAdmitted::Share)?;
        } else if state.counted >= self.most {
            // The address with the most connections is affected first.
            let most = state.by_address.iter().max_by_key(|(_, count)| **count).map(|(address, _)| *address);
            let closed = state
                .close_idlest(|entry| !entry.trusted && Some(entry.from) == most)
                .or_else(|| state.close_idlest(|entry| !entry.trusted))
                .or_else(|| state.close_idlest(|_| true));
            closed.ok_or(NotAdmitted::Full)?;
        }
        let (id, close) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        let entry =
            OpenConnection { from, trusted, activity: Arc::clone(activity), closing: false, close: Arc::clone(&close) };
        state.count(&entry);
        state.open.insert(id, entry);
        Ok(ConnectionPermit { connections: Arc::clone(self), id, close })
    }

    fn state(&self) -> MutexGuard<'_, OpenConnections> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn count(&mut self, entry: &OpenConnection) {
        self.counted += 1;
        if !entry.trusted {
            *self.by_address.entry(entry.from).or_insert(0) += 1;
        }
    }

    fn discount(&mut self, from: IpAddr, trusted: bool) {
        self.counted = self.counted.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&from).filter(|_| !trusted) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&from);
            }
        }
    }

    /// Asks the connection with the longest idle time to close; `None` if no connection is idle.
    fn close_idlest(&mut self, of: impl Fn(&OpenConnection) -> bool) -> Option<()> {
        let idle = |entry: &OpenConnection| entry.activity.idle_since().filter(|_| !entry.closing && of(entry));
        let idlest: (Instant, u64) = self.open.iter().filter_map(|(id, entry)| Some((idle(entry)?, *id))).min()?;
        let entry = self.open.get_mut(&idlest.1)?;
        entry.closing = true;
        entry.close.notify_one();
        let (from, trusted) = (entry.from, entry.trusted);
        self.discount(from, trusted);
        Some(())
    }
}

impl ConnectionPermit {
    /// Waits until the connection is asked to close. It should close if it is still idle.
    pub(crate) async fn close_requested(&self) {
        self.close.notified().await;
    }

    /// Cancels the closing, since a request arrived before the connection could close.
    pub(crate) fn stays(&self) {
        let mut state = self.connections.state();
        if let Some(mut entry) = state.open.remove(&self.id) {
            if std::mem::take(&mut entry.closing) {
                state.count(&entry);
            }
            state.open.insert(self.id, entry);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        if let Some(entry) = state.open.remove(&self.id).filter(|entry| !entry.closing) {
            state.discount(entry.from, entry.trusted);
        }
        drop(state);
        self.connections.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::{net::Ipv4Addr, time::Duration};

    fn from(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    fn is_asked_to_close(permit: &ConnectionPermit) -> bool {
        permit.close_requested().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_idlest_connection_is_closed() {
        let connections = Connections::new(8);
        // Each connection is one second younger than the previous one.
        let mut opened = Instant::now() - Duration::from_mins(1);
        let mut open = |last: u8| {
            opened += Duration::from_secs(1);
            let activity = Activity::new(opened);
            connections.admit(from(last), false, &activity).map(|permit| (permit, activity))
        };
        let mut first = Vec::new();
        for _ in 0..6 {
            first.push(open(1).unwrap());
        }
        let begun = first[0].1.begin();
        first.push(open(1).unwrap());
        let told: Vec<_> = first.iter().map(|(permit, _)| is_asked_to_close(permit)).collect();
        assert_eq!(told, [false, true, false, false, false, false, false], "idle for longest, and no request");
        drop(first.remove(1));

        let second = [open(2).unwrap(), open(3).unwrap()];
        assert_eq!(connections.count(), 8);
        let third = open(4).unwrap();
        assert!(is_asked_to_close(&first[1].0), "the address that has the most gives way");
        assert!(!second.iter().any(|(permit, _)| is_asked_to_close(permit)));
        // A request arrived before the connection was closed.
        first[1].0.stays();
        let requests: Vec<_> =
            first.iter().chain(&second).chain([&third]).map(|(_, activity)| activity.begin()).collect();
        assert_eq!(open(5).err(), Some(NotAdmitted::Full));
        drop(second);
        let fifth = open(1);
        assert_eq!(fifth.err(), Some(NotAdmitted::Share), "all of its own have requests");
        open(5).unwrap();
        drop((requests, begun, first, third));
        assert_eq!(connections.count(), 0);
        assert!(connections.state().by_address.is_empty());
    }

    #[tokio::test]
    async fn trusted_proxies_may_use_every_permit() {
        let connections = Connections::new(10);
        let activity = Activity::new(Instant::now());
        let rooms: Vec<_> = (0..10).map(|_| connections.admit(from(1), true, &activity).unwrap()).collect();
        assert_eq!(rooms.iter().filter(|permit| is_asked_to_close(permit)).count(), 0);
        let _eleventh = connections.admit(from(1), true, &activity).unwrap();
        assert_eq!(rooms.iter().filter(|permit| is_asked_to_close(permit)).count(), 1);
    }
}
