//! The files of a workspace: `POST /files/*` of the [protocol](super::protocol), with one module for each group of
//! operations.
//!
//! The work runs on blocking threads, for a limited number of requests at once. Operations that only read have a
//! deadline, and stop when their request is cancelled. Changes are always completed, so that no file is left in a
//! partial state; copying and removing folders, which can take long, have a deadline too.

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
    answer::{Answer, Asked, By},
    journal::{Journal, on_move, on_path},
    protocol::{EditFile, Failure, FailureKind, MovePath, Operation, OperationKind, RemovePath, WriteFile},
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

/// The size limit of requests, in bytes: the largest file in base64, or as text with the same amount again for escapes.
const MAX_BODY: usize = 33 * 1024 * 1024;

/// The file operations of a workspace agent.
#[derive(Clone)]
pub struct Files {
    tree: Tree,
    journal: Journal,
    slots: Arc<Semaphore>,
}

impl Files {
    /// File operations within `reach`. Relative paths start at `home`. Changes are recorded in the journal.
    #[must_use]
    pub fn new(home: PathBuf, reach: Reach, journal: Journal) -> Self {
        Self { tree: Tree::new(home, reach), journal, slots: Arc::new(Semaphore::new(limits::AT_ONCE)) }
    }

    /// The routes `/files/*`.
    pub fn router(self) -> Router {
        let written = |file: &WriteFile| on_path(OperationKind::WriteFile, &file.path);
        let appended = |file: &WriteFile| on_path(OperationKind::AppendFile, &file.path);
        let edited = |edit: &EditFile| on_path(OperationKind::EditFile, &edit.path);
        let moved = |path: &MovePath| on_move(&path.from, &path.to);
        let removed = |path: &RemovePath| on_path(OperationKind::RemovePath, &path.path);
        Router::new()
            .route("/files/list", read_route(list::list))
            .route("/files/read", read_route(read::read))
            .route("/files/write", change_route(write::write, written))
            .route("/files/append", change_route(write::append, appended))
            .route("/files/edit", change_route(edit::edit, edited))
            .route("/files/search", read_route(search::search))
            .route("/files/move", change_route(paths::rename, moved))
            .route("/files/remove", change_route(paths::remove, removed))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }

    /// Runs an operation on a blocking thread.
    async fn work<A: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<A, Failure> + Send + 'static,
    ) -> Result<A, Failure> {
        let ended = || FailureKind::Internal.because("the agent ended during the file operation: try again");
        let slot = timeout(limits::PATIENCE, Arc::clone(&self.slots).acquire_owned());
        let slot = slot.await.map_err(|_| busy())?.map_err(|_| ended())?;
        let cancel = Cancel::default();
        let tree = self.tree.until_cancelled(cancel.clone());
        let _given_up = cancel.on_drop();
        let working = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&tree)
        });
        // Only a file system that does not respond takes longer. The slot stays occupied while the thread runs.
        let done = timeout(limits::CHANGE_PATIENCE * 2, working).await.map_err(|_| stuck())?;
        done.map_err(|_| ended())?
    }
}

fn stuck() -> Failure {
    FailureKind::Internal.because("the file system does not respond: check what was done before you try again")
}

fn busy() -> Failure {
    FailureKind::Exhausted.because(format!(
        "the limit of {} concurrent file operations in this workspace is reached: try again when one has ended",
        limits::AT_ONCE
    ))
}

/// The route of an operation that only reads.
fn read_route<Q, A>(operation: fn(&Tree, &Q) -> Result<A, Failure>) -> MethodRouter<Files>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post(move |State(files): State<Files>, Asked(question): Asked<Q>| async move {
        let answer: Answer<A> = files.work(move |tree| operation(tree, &question)).await.map(Json);
        answer
    })
}

/// The route of an operation that changes files. What begins is recorded in the journal, even if its client leaves.
fn change_route<Q, A>(
    operation: fn(&Tree, &Q) -> Result<A, Failure>,
    recorded: fn(&Q) -> Operation,
) -> MethodRouter<Files>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post(move |State(files): State<Files>, By(actor): By, Asked(question): Asked<Q>| async move {
        let journal = files.journal.clone();
        let changed = files.work(move |tree| {
            let recording = journal.begin(actor, recorded(&question));
            let result = operation(tree, &question);
            recording.end(&result);
            result
        });
        let answer: Answer<A> = changed.await.map(Json);
        answer
    })
}
