//! Subscriptions to changes (MCP `subscriptions/listen`, 2026-07-28): a stream that notifies when the tools, and the
//! prompts that depend on them, have changed. They change when new files are loaded. Changes of workspaces are not
//! notified.
//!
//! Each stream holds a permit of the concurrent requests, so their number is limited. It ends before the timeout of a
//! request, when new files are loaded, and when the server shuts down. Clients then subscribe again.

use portcullis_config::ServerLimits;
use rmcp::{
    ErrorData,
    service::{SubscriptionContext, SubscriptionSendError},
};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How long before the timeout of its request a stream ends.
const MARGIN: Duration = Duration::from_secs(5);
/// The share of the request permits that subscriptions can use: one in this many.
const SHARE: u32 = 4;

/// The subscriptions to one endpoint.
pub(super) struct Subscriptions {
    permits: Semaphore,
    at_most: Duration,
    retired: watch::Sender<Retired>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retired {
    NotYet,
    Unchanged,
    Changed,
}

impl Subscriptions {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        let whole = limits.request_timeout.as_duration();
        let permits = usize::try_from((limits.max_concurrent_requests / SHARE).max(1)).unwrap_or(1);
        Self {
            permits: Semaphore::new(permits),
            at_most: whole.saturating_sub(MARGIN).max(whole / 2),
            retired: watch::Sender::new(Retired::NotYet),
        }
    }

    /// Ends all subscriptions. Later ones end at once.
    pub(crate) fn retire(&self, changed: bool) {
        self.retired.send_replace(if changed { Retired::Changed } else { Retired::Unchanged });
    }

    pub(crate) async fn listen(&self, context: &SubscriptionContext) -> Result<(), ErrorData> {
        let Ok(_permit) = self.permits.try_acquire() else {
            let text = "the limit of subscriptions is reached; request the lists instead, or try again later";
            return Err(ErrorData::internal_error(text, None));
        };
        let mut retired = self.retired.subscribe();
        // Copied, since the borrow must not be held while a notification is sent.
        let retired = async { retired.wait_for(|how| *how != Retired::NotYet).await.map(|how| *how) };
        tokio::select! {
            () = context.cancelled() => {}
            () = tokio::time::sleep(self.at_most) => {}
            how = retired => {
                if how.is_ok_and(|how| how == Retired::Changed)
                    && let Err(error) = notify(context).await
                {
                    tracing::debug!(%error, "a change notification could not be sent");
                }
            }
        }
        Ok(())
    }
}

async fn notify(context: &SubscriptionContext) -> Result<(), SubscriptionSendError> {
    let accepted = context.accepted();
    if accepted.tools_list_changed == Some(true) {
        context.sink().notify_tool_list_changed().await?;
    }
    if accepted.prompts_list_changed == Some(true) {
        context.sink().notify_prompt_list_changed().await?;
    }
    Ok(())
}
