//! Subscriptions to changes (MCP `subscriptions/listen`, 2026-07-28): a stream that tells when the tools, and the prompts
//! that follow from them, are others than before. That is when new files are loaded. Which workspaces there are is told
//! by asking.
//!
//! A stream holds a place among the requests that are worked on at once, so there are only so many, and each ends, as
//! the protocol has it, before the time of a request is over, when new files are loaded, and when the server shuts down.
//! A client that wants to know more listens again.

use portcullis_config::Limits;
use rmcp::{
    ErrorData,
    service::{SubscriptionContext, SubscriptionSendError},
};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What is left of a request's time for ending its stream.
const MARGIN: Duration = Duration::from_secs(5);
/// One of how many places may be listening.
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
    pub(crate) fn new(limits: &Limits) -> Self {
        let whole = limits.request_timeout.as_duration();
        let permits = usize::try_from((limits.max_concurrent_requests / SHARE).max(1)).unwrap_or(1);
        Self {
            permits: Semaphore::new(permits),
            at_most: whole.saturating_sub(MARGIN).max(whole / 2),
            retired: watch::Sender::new(Retired::NotYet),
        }
    }

    /// Ends all of them, and those that come late.
    pub(crate) fn retire(&self, changed: bool) {
        self.retired.send_replace(if changed { Retired::Changed } else { Retired::Unchanged });
    }

    pub(crate) async fn listen(&self, context: &SubscriptionContext) -> Result<(), ErrorData> {
        let Ok(_permit) = self.permits.try_acquire() else {
            let text = "too many are listening at once; ask for the lists instead, or try again later";
            return Err(ErrorData::internal_error(text, None));
        };
        let mut retired = self.retired.subscribe();
        // Copied out, since what it lends must not be held while something is sent.
        let retired = async { retired.wait_for(|how| *how != Retired::NotYet).await.map(|how| *how) };
        tokio::select! {
            () = context.cancelled() => {}
            () = tokio::time::sleep(self.at_most) => {}
            how = retired => {
                if how.is_ok_and(|how| how == Retired::Changed)
                    && let Err(error) = tell(context).await
                {
                    tracing::debug!(%error, "a change could not be told");
                }
            }
        }
        Ok(())
    }
}

async fn tell(context: &SubscriptionContext) -> Result<(), SubscriptionSendError> {
    let accepted = context.accepted();
    if accepted.tools_list_changed == Some(true) {
        context.sink().notify_tool_list_changed().await?;
    }
    if accepted.prompts_list_changed == Some(true) {
        context.sink().notify_prompt_list_changed().await?;
    }
    Ok(())
}
