//! Progress notifications (MCP `notifications/progress`), for clients that sent a `progressToken`.

use async_trait::async_trait;
use portcullis_tools::{Progress, Report};
use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::Peer,
};

/// Sends what a tool reports.
pub(super) struct Notifications {
    peer: Peer<RoleServer>,
    token: ProgressToken,
    /// How often it has reported: progress must grow with every report.
    count: u32,
}

impl Notifications {
    /// Where a tool reports to.
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
