//! Workspaces of which those named `evil-…` have an agent that its user has replaced: it answers without end. One named
//! `slow` never finishes its start.

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use portcullis_agent::{AnswerBody, Client, Lost, Repeat, Transport};
use portcullis_config::WorkspaceRules;
use portcullis_workspaces::{
    CreateWorkspace, Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, WorkspaceLogs, WorkspacePage,
    Workspaces,
};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Hands on all but the agents.
pub struct Replaced(pub Arc<dyn Workspaces>);

/// How it answers.
#[derive(Clone, Copy)]
enum Evil {
    /// With spaces, and later more of them.
    Endless,
    /// With a little of what it announces.
    Announcing,
    /// Never.
    Silent,
}

#[async_trait]
impl Transport for Evil {
    async fn send(&self, _: Request<Full<Bytes>>, _: Repeat) -> Result<Response<AnswerBody>, Lost> {
        let spaces = || stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[b' '; 16 << 10])));
        let (body, announced) = match self {
            // A pause now and then, or it would never let anything else run.
            Self::Endless => (
                Body::from_stream(spaces().then(|piece| async {
                    tokio::task::yield_now().await;
                    piece
                })),
                None,
            ),
            Self::Announcing => (Body::from_stream(spaces().take(1).chain(stream::pending())), Some(1_u64 << 40)),
            Self::Silent => (Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()), None),
        };
        let body = body.map_err(|error| Lost { why: error.to_string(), maybe_done: true }).boxed_unsync();
        let mut response = Response::new(body);
        if let Some(announced) = announced {
            response.headers_mut().insert(CONTENT_LENGTH, announced.into());
        }
        Ok(response)
    }

    fn abandon(&self, _: &str) {}
}

#[async_trait]
impl Workspaces for Replaced {
    fn apply(&self, rules: &WorkspaceRules) {
        self.0.apply(rules);
    }

    async fn templates(&self, owner: &Owner) -> Result<Vec<Template>, Error> {
        self.0.templates(owner).await
    }

    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error> {
        self.0.list(owner, filter).await
    }

    async fn list_all(&self, cursor: Option<&str>, limit: usize) -> Result<WorkspacePage, Error> {
        self.0.list_all(cursor, limit).await
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        let mut found = self.0.get(owner, workspace).await?;
        if found.name == "slow" {
            found.status = Status::Starting;
            found.problem = Some("its image is being pulled; call get_workspace again in a few seconds".to_owned());
        }
        Ok(found)
    }

    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error> {
        self.0.create(owner, request).await
    }

    async fn start(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        self.0.start(owner, workspace, wait).await
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        self.0.stop(owner, workspace).await
    }

    async fn restart(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        self.0.restart(owner, workspace, wait).await
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        self.0.delete(owner, workspace).await
    }

    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error> {
        self.0.logs(owner, workspace, lines).await
    }

    async fn agent(&self, owner: &Owner, workspace: &str, purpose: Purpose) -> Result<Client, Error> {
        let name = self.0.get(owner, workspace).await.map_or_else(|_| workspace.to_owned(), |found| found.name);
        let evil = match &*name {
            "evil-endless" => Evil::Endless,
            "evil-announcing" => Evil::Announcing,
            "evil-silent" => Evil::Silent,
            _ => return self.0.agent(owner, workspace, purpose).await,
        };
        Ok(Client::new(Arc::new(evil)))
    }
}
