//! Progress notifications (MCP `notifications/progress`), for clients that sent a `progressToken`.

use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::Peer,
};

/// Where a tool reports how it goes.
pub struct Progress {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// How often it has reported: progress must grow with every report.
    count: u32,
}

impl Progress {
    pub(in crate::mcp) fn new(peer: Peer<RoleServer>, token: ProgressToken) -> Self {
        Self { peer, token, count: 0 }
    }

    /// Sends a message. A client that has gone is no failure here: the call is cancelled for it elsewhere.
    pub async fn report(&mut self, message: String) {
        self.count = self.count.saturating_add(1);
        let progress = ProgressNotificationParam::new(self.token.clone(), f64::from(self.count)).with_message(message);
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(%error, "a progress notification was not delivered");
        }
    }
}
