//! Kubernetes Events about actions and findings of the operator. Only on changes, with bounded reasons.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use portcullis_core::report::chain;

/// Publishes events.
#[derive(Clone)]
pub struct Events(Recorder);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Events").finish()
    }
}

impl Events {
    /// `instance` names this replica.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: "portcullis".to_owned(), instance: Some(instance.to_owned()) };
        Self(Recorder::new(client, reporter))
    }

    /// Something was done.
    pub async fn note<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, action: &str, note: String) {
        self.publish(about.object_ref(&()), EventType::Normal, reason, action, note).await;
    }

    /// Something is wrong.
    pub async fn warn<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, action: &str, note: String) {
        self.publish(about.object_ref(&()), EventType::Warning, reason, action, note).await;
    }

    async fn publish(&self, about: ObjectReference, type_: EventType, reason: &str, action: &str, mut note: String) {
        // The API server takes at most 1 KiB.
        note.truncate(note.floor_char_boundary(1000));
        let event =
            Event { type_, reason: reason.to_owned(), action: action.to_owned(), note: Some(note), secondary: None };
        if let Err(error) = self.0.publish(&event, &about).await {
            // A lost Event does not affect the state, so errors are only logged.
            tracing::warn!(reason, error = chain(&error), "an Event could not be published");
        }
    }
}
