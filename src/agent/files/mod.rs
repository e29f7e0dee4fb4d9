//! The files of a workspace: `POST /files/*` of the [protocol](super::protocol), one file here for each group of
//! operations.
//!
//! The work is done on threads where it may wait, a few requests at once. One that nobody waits for any more is still
//! brought to its end, so that no file is left half changed; what only looks has a deadline.

mod edit;
mod fail;
mod hint;
mod limits;
mod list;
mod paths;
mod read;
mod search;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use super::{
    answer::{Answer, Asked},
    protocol::{Failure, FailureKind},
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::{MethodRouter, post},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{path::PathBuf, sync::Arc};
use tokio::sync::Semaphore;
use tree::Tree;

/// The largest request: the largest file in base64, or as text with as much again for its escapes.
const MAX_BODY: usize = 33 * 1024 * 1024;

/// The files that an agent works on.
#[derive(Clone)]
pub struct Files {
    tree: Arc<Tree>,
    slots: Arc<Semaphore>,
}

impl Files {
    /// Relative paths start at `home`. `confine` refuses those that lead out of it, also by links; else the whole file
    /// system can be named.
    #[must_use]
    pub fn new(home: PathBuf, confine: bool) -> Self {
        Self::with_readable(home, confine, Vec::new())
    }

    /// The same, where a confined tree may also look at, but not change, some folders that are not in `home`, such as
    /// the one that the output of commands is kept in.
    #[must_use]
    pub fn with_readable(home: PathBuf, confine: bool, readable: Vec<PathBuf>) -> Self {
        Self { tree: Arc::new(Tree::new(home, confine, readable)), slots: Arc::new(Semaphore::new(limits::AT_ONCE)) }
    }

    /// The routes `/files/*`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/files/list", route(list::list))
            .route("/files/read", route(read::read))
            .route("/files/write", route(write::write))
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
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| ended())?;
        let tree = Arc::clone(&self.tree);
        let working = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&tree)
        });
        working.await.map_err(|_| ended())?
    }
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
