//! `SingleUse` with Events: the API server creates a name only once, and deletes an Event after an hour (`--event-ttl`). So
//! no garbage collection is needed, and servers need only the permission to create.

use crate::kubernetes::Kubernetes;
use crate::kubernetes::grants::unavailable;
use async_trait::async_trait;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Resource as _, api::PostParams};
use portcullis_api::McpEndpoint;
use portcullis_oauth::{
    grant::GrantsError,
    single_use::{Mark, SingleUse},
};
use portcullis_reflector::request;

/// An id that is a URL may be long; a message may not.
const MAX_ID: usize = 256;

#[async_trait]
impl SingleUse for Kubernetes {
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError> {
        let (now, client_id) = (Time(self.clock.now()), &mark.client_id);
        let client_id: String = client_id.chars().take(MAX_ID).collect();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("portcullis-assertion-{}", mark.name)),
                labels: Some(self.labels(&[])),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(McpEndpoint::api_version(&()).into_owned()),
                kind: Some(McpEndpoint::kind(&()).into_owned()),
                name: Some(self.endpoint.clone()),
                namespace: Some(self.namespace.clone()),
                ..ObjectReference::default()
            },
            type_: Some("Normal".to_owned()),
            reason: Some("AssertionUsed".to_owned()),
            message: Some(format!(
                "the client {client_id} authenticated with a signed assertion, which is valid only once"
            )),
            source: Some(EventSource { component: Some("portcullis".to_owned()), host: None }),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            ..Event::default()
        };
        match request(self.events.create(&PostParams::default(), &event)).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(409) => Err(GrantsError::Exists),
            Err(error) => Err(unavailable(error)),
        }
    }
}
