//! The permissions of users by RBAC: LocalSubjectAccessReviews, cached for ten seconds.
//!
//! Concurrent requests share one review, and the number of concurrent reviews is limited.

use k8s_openapi::api::authorization::v1::{LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use portcullis_reflector::{RequestError, request};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// The lifetime of a cached review: the delay until a removed binding takes effect.
const REMEMBERED: Duration = Duration::from_secs(10);
/// The pause after a review without a response.
const PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 32;
/// The maximum number of cached reviews: users choose names, and must not be able to fill memory with them.
const MOST: usize = 20_000;

/// The verbs for Workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    List,
    Get,
    Patch,
    Delete,
    /// `create workspaces/exec`.
    Exec,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReviewKey {
    user: String,
    verb: Verb,
    /// `None`: all workspaces of the namespace.
    workspace: Option<String>,
}

/// The time and the result of a review; `None`: there was no response.
type CachedReview = (Instant, Option<bool>);

/// The cache of reviews.
pub(super) struct Reviews {
    api: Api<LocalSubjectAccessReview>,
    namespace: String,
    endpoint: String,
    answers: Mutex<HashMap<ReviewKey, Arc<tokio::sync::Mutex<Option<CachedReview>>>>>,
    at_once: Semaphore,
}

/// The permission could not be determined.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("the API server could not review the permission")]
    Request(#[from] RequestError),
    #[error("the API server did not answer a moment ago; try again in a few seconds")]
    Paused,
}

impl Reviews {
    pub(super) fn new(client: &Client, namespace: &str, endpoint: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            endpoint: endpoint.to_owned(),
            answers: Mutex::default(),
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// Whether RBAC permits this for one workspace, or for all.
    pub(super) async fn allows(&self, user: &str, verb: Verb, workspace: Option<&str>) -> Result<bool, ReviewError> {
        let question = ReviewKey { user: user.to_owned(), verb, workspace: workspace.map(ToOwned::to_owned) };
        let slot = self.slot(&question);
        let mut slot = slot.lock().await;
        match *slot {
            Some((at, Some(allowed))) if at.elapsed() < REMEMBERED => return Ok(allowed),
            Some((at, None)) if at.elapsed() < PAUSE => return Err(ReviewError::Paused),
            _ => {}
        }
        // The age of the review counts from the request.
        let asked = Instant::now();
        let answer = self.ask(&question).await;
        *slot = Some((asked, answer.as_ref().ok().copied()));
        Ok(answer?)
    }

    async fn ask(&self, question: &ReviewKey) -> Result<bool, RequestError> {
        let _place = self.at_once.acquire().await;
        let (verb, subresource) = match question.verb {
            Verb::List => ("list", None),
            Verb::Get => ("get", None),
            Verb::Patch => ("patch", None),
            Verb::Delete => ("delete", None),
            Verb::Exec => ("create", Some("exec".to_owned())),
        };
        let review = LocalSubjectAccessReview {
            metadata: ObjectMeta { namespace: Some(self.namespace.clone()), ..ObjectMeta::default() },
            spec: SubjectAccessReviewSpec {
                user: Some(format!("portcullis:{}:{}", self.endpoint, question.user)),
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    group: Some(portcullis_api::GROUP.to_owned()),
                    resource: Some("workspaces".to_owned()),
                    subresource,
                    verb: Some(verb.to_owned()),
                    name: question.workspace.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let answer = request(self.api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    fn slot(&self, question: &ReviewKey) -> Arc<tokio::sync::Mutex<Option<CachedReview>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            let fresh = |answer: &Option<CachedReview>| answer.is_some_and(|(at, _)| at.elapsed() < REMEMBERED);
            // The slot of a review in progress is locked, and stays.
            answers.retain(|_, slot| slot.try_lock().map_or(true, |answer| fresh(&answer)));
            if answers.len() >= MOST {
                answers.clear();
            }
        }
        Arc::clone(answers.entry(question.clone()).or_default())
    }
}
