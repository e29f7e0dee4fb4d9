//! `Registrations` with `OAuthClient`s that have the label `portcullis.dev/registered`.

use crate::kubernetes::Kubernetes;
use crate::objects;
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{DeleteParams, PostParams};
use portcullis_api::{
    Guarded,
    labels::{REGISTERED_DYNAMIC, REGISTERED_LABEL},
};
use portcullis_oauth::client::{Client, ClientError, Held, NewRegistration, Registrations};
use portcullis_reflector::{Lookup, RequestError, request};
use std::sync::Arc;

/// A request to the API server failed.
fn unavailable(error: RequestError) -> ClientError {
    ClientError::Unavailable(Box::new(error))
}

impl Kubernetes {
    /// Reads from the API server, and updates the index.
    pub(super) async fn read_client(&self, name: &str) -> Result<Option<Arc<Client>>, RequestError> {
        let known = self.registered.version(name);
        let answer = request(self.clients.get_opt(name)).await?;
        let Some(client) = answer.and_then(|object| self.readable_client(object).ok()) else {
            self.registered.apply_not_found(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(Arc::clone(&self.registered.apply_response(client).client)))
    }
}

#[async_trait]
impl Registrations for Kubernetes {
    fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        match self.registered.find(client_id) {
            Lookup::Present(registered) => Some(Arc::clone(&registered.client)),
            Lookup::Deleted | Lookup::Unknown => None,
        }
    }

    fn held(&self, now: Timestamp) -> Vec<Held> {
        objects::held(&self.registered, now)
    }

    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError> {
        self.read_client(client_id).await.map_err(unavailable)
    }

    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError> {
        let mut object = objects::new_registration(client_id, new, &self.endpoint);
        object.metadata.labels = Some(self.labels(&[(REGISTERED_LABEL, REGISTERED_DYNAMIC)]));
        let created = request(self.new_clients.create(&PostParams::default(), &object)).await.map_err(unavailable)?;
        let created =
            self.readable_client(Guarded(Ok(created))).map_err(|name| unavailable(RequestError::Unreadable(name)))?;
        Ok(Arc::clone(&self.registered.apply_response(created).client))
    }

    async fn remove(&self, client_id: &str) -> Result<(), ClientError> {
        match request(self.clients.delete(client_id, &DeleteParams::default())).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(unavailable(error)),
        }
        self.registered.removed(client_id, None, self.clock.now());
        Ok(())
    }
}
