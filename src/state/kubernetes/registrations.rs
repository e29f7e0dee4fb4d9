//! `Registrations` over `OAuthClient`s that carry the label `portcullis.dev/registered`.

use super::Kubernetes;
use crate::{
    oauth::client::{Client, ClientError, Held, NewRegistration, Registrations},
    state::objects,
};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::{
    api::{DeleteParams, PostParams},
    core::DeserializeGuard,
};
use portcullis_api::labels::{REGISTERED_DYNAMIC, REGISTERED_LABEL};
use portcullis_reflector::{Found, RequestError, request};
use std::sync::Arc;

impl From<RequestError> for ClientError {
    fn from(error: RequestError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Kubernetes {
    /// At the API server. Memory learns of it.
    pub(super) async fn read_client(&self, name: &str) -> Result<Option<Arc<Client>>, RequestError> {
        let known = self.registered.version(name);
        let answer = request(self.clients.get_opt(name)).await?;
        let Some(client) = answer.and_then(|object| self.readable_client(object).ok()) else {
            self.registered.answered_none(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(Arc::clone(&self.registered.answered(client).client)))
    }
}

#[async_trait]
impl Registrations for Kubernetes {
    fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        match self.registered.find(client_id) {
            Found::Here(registered) => Some(Arc::clone(&registered.client)),
            Found::Gone | Found::Unknown => None,
        }
    }

    fn held(&self, now: Timestamp) -> Vec<Held> {
        objects::held(&self.registered, now)
    }

    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError> {
        Ok(self.read_client(client_id).await?)
    }

    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError> {
        let mut object = objects::new_registration(client_id, new, &self.endpoint);
        object.metadata.labels = Some(self.labels(&[(REGISTERED_LABEL, REGISTERED_DYNAMIC)]));
        let created = request(self.new_clients.create(&PostParams::default(), &object)).await?;
        let created = self.readable_client(DeserializeGuard(Ok(created))).map_err(RequestError::Unreadable)?;
        Ok(Arc::clone(&self.registered.answered(created).client))
    }

    async fn remove(&self, client_id: &str) -> Result<(), ClientError> {
        match request(self.clients.delete(client_id, &DeleteParams::default())).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
        self.registered.removed(client_id, None, self.clock.now());
        Ok(())
    }
}
