//! Access to workspaces: for the owner, and, in mode Kubernetes, for users with permission by RBAC.
//!
//! Other users' workspaces are indistinguishable from missing ones. In mode Owner, RBAC does not matter; in mode
//! Kubernetes, the same access review is made for existing and missing workspaces, so that the response time reveals
//! nothing either.

use crate::kubernetes::{
    catalog::Catalog,
    entry::WorkspaceEntry,
    reviews::{ReviewError, Reviews, Verb},
};
use crate::{Error, Owner, paging::Pager};
use futures::{StreamExt as _, stream};
use portcullis_core::workspace::AuthorizationMode;
use portcullis_reflector::Lookup;
use std::sync::Arc;

/// The maximum number of concurrent access reviews for a list.
const AT_ONCE: usize = 16;
/// The maximum length of a workspace's name or id, in bytes.
const LONGEST_NAME: usize = 40;

/// An action on a workspace, with its RBAC verb and its verb in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    See,
    Start,
    Stop,
    Restart,
    Delete,
    Work,
    SeeJournal,
}

impl Action {
    /// `None`: only the owner may do it.
    fn verb(self) -> Option<Verb> {
        match self {
            Self::See => Some(Verb::Get),
            Self::Start | Self::Stop | Self::Restart => Some(Verb::Patch),
            Self::Delete => Some(Verb::Delete),
            Self::Work => Some(Verb::Exec),
            Self::SeeJournal => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Delete => "delete",
            Self::Work => "work in",
            Self::SeeJournal => "see the activity in",
        }
    }
}

/// The access check.
pub(super) struct Access {
    catalog: Arc<Catalog>,
    reviews: Reviews,
}

impl Access {
    pub(super) fn new(catalog: Arc<Catalog>, reviews: Reviews) -> Self {
        Self { catalog, reviews }
    }

    /// The workspace with this id or name, if the user has permission for the action. The user's own workspaces take
    /// precedence; among several of the same name, the oldest one does.
    pub(super) async fn find(
        &self,
        mode: AuthorizationMode,
        owner: &Owner,
        wanted: &str,
        action: Action,
    ) -> Result<Arc<WorkspaceEntry>, Error> {
        if let Some(own) = self.own(owner, wanted) {
            return Ok(own);
        }
        // Finds a workspace that another server has just created. The request is sent for every name, so the response
        // time reveals nothing.
        if let Some(own) = self.catalog.made_elsewhere(owner, wanted).await {
            return Ok(own);
        }
        if mode == AuthorizationMode::Kubernetes
            && let Some(shared) = self.shared(owner, wanted).await?
        {
            let allowed = match action.verb() {
                Some(Verb::Get) => true,
                Some(verb) => self.allows(owner, verb, &shared.view.id).await?,
                None => false,
            };
            if allowed {
                return Ok(shared);
            }
            let (workspace, whose) = (shared.view.name.clone(), shared.view.owner.clone());
            return Err(Error::NotPermitted { workspace, owner: whose, verb: action.word() });
        }
        Err(self.unknown(owner, wanted))
    }

    /// The error for a missing workspace.
    pub(super) fn unknown(&self, owner: &Owner, wanted: &str) -> Error {
        let existing =
            self.catalog.workspaces.with_user(&owner.id, |own| own.map(|own| own.view.name.clone()).collect());
        Error::UnknownWorkspace { wanted: wanted.to_owned(), existing }
    }

    /// The workspaces of the page that the user may see, sorted by name.
    pub(super) async fn list(&self, mode: AuthorizationMode, owner: &Owner, pager: &Pager) -> Vec<Arc<WorkspaceEntry>> {
        if mode == AuthorizationMode::Owner {
            let matching = |own: &mut dyn Iterator<Item = &Arc<WorkspaceEntry>>| {
                own.filter(|own| pager.matches(&own.view)).take(pager.needed()).cloned().collect()
            };
            return self.catalog.workspaces.with_user(&owner.id, matching);
        }
        let mut all = self.catalog.workspaces.all(|entry| pager.matches(&entry.view));
        all.sort_by(|a, b| (&a.view.name, &a.view.id).cmp(&(&b.view.name, &b.view.id)));
        let every = self.reviews.allows(&owner.id, Verb::List, None).await;
        let seen = stream::iter(all).map(|entry| async {
            let seen = match &every {
                _ if entry.owner == owner.id => true,
                Ok(true) => true,
                Ok(false) => self.allows(owner, Verb::Get, &entry.view.id).await.unwrap_or_default(),
                // The user's own workspaces are listed even if the API server does not respond.
                Err(_) => false,
            };
            seen.then_some(entry)
        });
        let seen = seen.buffered(AT_ONCE).filter_map(std::future::ready).take(pager.needed());
        seen.collect().await
    }

    fn own(&self, owner: &Owner, wanted: &str) -> Option<Arc<WorkspaceEntry>> {
        if let Lookup::Present(entry) = self.catalog.workspaces.find(wanted)
            && entry.owner == owner.id
        {
            return Some(entry);
        }
        self.catalog
            .workspaces
            .with_user(&owner.id, |own| own.filter(|own| own.view.name == wanted).min_by_key(|own| age(own)).cloned())
    }

    /// Another user's workspace that the user may see.
    async fn shared(&self, owner: &Owner, wanted: &str) -> Result<Option<Arc<WorkspaceEntry>>, Error> {
        if wanted.len() > LONGEST_NAME {
            return Ok(None);
        }
        let by_id = self.allows(owner, Verb::Get, wanted).await?;
        if by_id && let Lookup::Present(entry) = self.catalog.workspaces.find(wanted) {
            return Ok(Some(entry));
        }
        let mut named = self.catalog.workspaces.all(|entry| entry.view.name == wanted);
        named.sort_by_key(|entry| age(entry));
        for entry in named {
            if self.allows(owner, Verb::Get, &entry.view.id).await? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    async fn allows(&self, owner: &Owner, verb: Verb, id: &str) -> Result<bool, Error> {
        self.reviews.allows(&owner.id, verb, Some(id)).await.map_err(|error: ReviewError| Error::Cluster {
            doing: "check your permission; try again in a few seconds".to_owned(),
            source: Box::new(error),
        })
    }
}

fn age(entry: &WorkspaceEntry) -> (jiff::Timestamp, String) {
    (entry.view.created_at, entry.view.id.clone())
}
