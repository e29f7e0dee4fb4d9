//! Progress notifications (MCP `notifications/progress`), for clients that sent a `progressToken`.

use async_trait::async_trait;
use portcullis_tools::{Progress, Report};
use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::Peer,
};

/// Sends the progress messages of a tool.
pub(super) struct Notifications {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// The number of reports: the progress must increase with each one.
    count: u32,
}

impl Notifications {
    /// A receiver for a tool's progress messages.
    pub(crate) fn to(peer: Peer<RoleServer>, token: ProgressToken) -> Progress {
        Box::new(Self { peer, token, count: 0 })
    }
}

#[async_trait]
impl Report for Notifications {
    /// Ignores a disconnected client, whose call is cancelled elsewhere.
    async fn report(&mut self, message: String) {
        self.count = self.count.saturating_add(1);
        let progress = ProgressNotificationParam::new(self.token.clone(), f64::from(self.count)).with_message(message);
        if let Err(error) = self.peer.notify_progress(progress).await {
            tracing::debug!(%error, "a progress notification was not delivered");
        }
    }
}
