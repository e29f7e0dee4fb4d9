//! Executor for the streams of HTTP/2 connections. It tracks them and cancels them at shutdown, and each at the
//! deadline of its response: hyper does not poll a response while the client reads no data.

use std::{
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

tokio::task_local! {
    static DEADLINE: Arc<OnceLock<Instant>>;
}

/// Sets the deadline of the response of the current stream. This has no effect on HTTP/1.1, where a connection has one
/// response at a time.
pub(super) fn send_until(deadline: Instant) {
    let _ = DEADLINE.try_with(|of_stream| of_stream.set(deadline));
}

/// The executor for hyper.
#[derive(Clone)]
pub(super) struct TrackedExecutor {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl TrackedExecutor {
    pub(super) fn new(tasks: TaskTracker, abort: CancellationToken) -> Self {
        Self { tasks, abort }
    }
}

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            let future = pin!(until_deadline(future));
            abort.run_until_cancelled(future).await;
        });
    }
}

/// Polls a stream until it ends, or until the deadline of its response. Dropping an unfinished stream resets it.
async fn until_deadline<F: Future>(stream: F) {
    let deadline = Arc::new(OnceLock::new());
    let mut stream = pin!(DEADLINE.scope(Arc::clone(&deadline), stream));
    let mut sleep: Option<Pin<Box<Sleep>>> = None;
    let poll = |context: &mut Context<'_>| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if sleep.is_none() {
            sleep = deadline.get().map(|deadline| Box::pin(sleep_until(*deadline)));
        }
        sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(context))
    };
    std::future::poll_fn(poll).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_stream_ends_at_the_deadline_of_its_response() {
        const SHORT: Duration = Duration::from_millis(30);
        let begun = Instant::now();
        until_deadline(tokio::time::sleep(SHORT)).await;
        assert!(begun.elapsed() >= SHORT, "none is set");
        let stalls = async {
            tokio::time::sleep(SHORT).await;
            send_until(Instant::now() + SHORT);
            std::future::pending::<()>().await;
        };
        until_deadline(stalls).await;
        assert!(begun.elapsed() >= 3 * SHORT);
    }
}
