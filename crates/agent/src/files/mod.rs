//! The files of a workspace: `POST /files/*` of the [protocol](super::protocol), one file here for each group of
//! operations.
//!
//! The work is done on threads where it may wait, a few requests at once. What only looks has a deadline, and ends when
//! its request is given up. A change is brought to its end all the same, so that no file is left half changed; what can
//! take long, copying and removing folders, has a deadline too.

mod copy;
mod edit;
mod fail;
mod folder;
mod guard;
mod hint;
mod ignored;
mod limits;
mod list;
mod names;
mod paths;
mod patterns;
mod read;
mod remove;
mod search;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod write;

use crate::{
    answer::{Answer, Asked},
    protocol::{Failure, FailureKind},
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::{MethodRouter, post},
};
pub use guard::Reach;
use limits::Cancel;
use serde::{Serialize, de::DeserializeOwned};
use std::{path::PathBuf, sync::Arc};
use tokio::{sync::Semaphore, time::timeout};
use tree::Tree;

/// The largest request: the largest file in base64, or as text with as much again for its escapes.
const MAX_BODY: usize = 33 * 1024 * 1024;

/// The files that an agent works on.
#[derive(Clone)]
pub struct Files {
    tree: Tree,
    slots: Arc<Semaphore>,
}

impl Files {
    /// Relative paths start at `home`.
    #[must_use]
    pub fn new(home: PathBuf, reach: Reach) -> Self {
        Self { tree: Tree::new(home, reach), slots: Arc::new(Semaphore::new(limits::AT_ONCE)) }
    }

    /// The routes `/files/*`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/files/list", route(list::list))
            .route("/files/read", route(read::read))
            .route("/files/write", route(write::write))
            .route("/files/append", route(write::append))
            .route("/files/edit", route(edit::edit))
            .route("/files/search", route(search::search))
            .route("/files/move", route(paths::rename))
            .route("/files/remove", route(paths::remove))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }

    /// Does something where it may wait.
    async fn work<A: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<A, Failure> + Send + 'static,
    ) -> Result<A, Failure> {
        let ended = || FailureKind::Internal.because("the agent ended while it worked on files: try again");
        let slot = timeout(limits::PATIENCE, Arc::clone(&self.slots).acquire_owned());
        let slot = slot.await.map_err(|_| busy())?.map_err(|_| ended())?;
        let cancel = Cancel::default();
        let tree = self.tree.until_cancelled(cancel.clone());
        let _given_up = cancel.on_drop();
        let working = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&tree)
        });
        // All but a system that does not answer ends before that. The slot is taken as long as it goes on.
        let done = timeout(limits::CHANGE_PATIENCE * 2, working).await.map_err(|_| stuck())?;
        done.map_err(|_| ended())?
    }
}

fn stuck() -> Failure {
    FailureKind::Internal.because("the file system does not answer: look at what was done before you try again")
}

fn busy() -> Failure {
    FailureKind::Exhausted.because(format!(
        "{} requests work on the files of this workspace, which is the most at once: try again when one has ended",
        limits::AT_ONCE
    ))
}

/// The route of one operation.
fn route<Q, A>(operation: fn(&Tree, &Q) -> Result<A, Failure>) -> MethodRouter<Files>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post(move |State(files): State<Files>, Asked(question): Asked<Q>| async move {
        let answer: Answer<A> = files.work(move |tree| operation(tree, &question)).await.map(Json);
        answer
    })
}
