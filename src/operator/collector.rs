//! Collects grants and registrations that have ended, says of registered clients that they are ready, and counts.
//!
//! A task beside the reconciles, since refreshes change grants all the time and no plan depends on them. It looks at
//! what the watches keep in memory every second: nothing wakes it, and at rest it writes nothing.

use super::{
    census::{ActiveGrants, Census, End, Observed},
    context::Context,
    metrics::Verb,
    report::write_client_status,
    status,
    world::{EndpointKey, Guarded, key},
};
use crate::{
    api::{OAuthClient, OAuthGrant},
    audit::Event,
    chain::chain,
};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedSender, time::MissedTickBehavior};

/// How often it looks. So exactly is it known when a client or an endpoint went.
const EVERY: Duration = Duration::from_secs(1);
/// How often the counts in statuses may change.
const COUNTS_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Collects for ever. An endpoint whose count is to be told anew is sent to `concerned`.
pub async fn run(context: Arc<Context>, concerned: UnboundedSender<EndpointKey>) {
    let mut census = Census::default();
    let mut counted_at = None;
    let mut times = tokio::time::interval(EVERY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let now = context.clock.now();
        let observed = observe(&context);
        let outcome = census.take(&observed, now);
        for (grant, end) in &outcome.grants {
            collect(&context, grant, *end).await;
            if let Ok(OAuthGrant { spec, .. }) = &grant.0 {
                let (grant, reason) = (&grant.name_any(), &end.to_string());
                Event::GrantCollected { grant, client_id: &spec.client_id, user: &spec.user.id, reason }.emit();
            }
        }
        for (client, end) in &outcome.clients {
            collect(&context, client, *end).await;
            Event::RegistrationCollected { client_id: &client.name_any(), reason: &end.to_string() }.emit();
        }
        if counted_at.is_none_or(|last| now.duration_since(last) >= COUNTS_EVERY) {
            for (namespace, name) in count(&context, outcome.active) {
                counted_at = Some(now);
                let _ = concerned.send(key(&namespace, &name));
            }
        }
        for client in &observed.clients {
            report_registered(&context, client, now).await;
        }
    }
}

/// Counts before anything is reported.
pub fn count_first(context: &Context) {
    let outcome = Census::default().take(&observe(context), context.clock.now());
    *context.active_grants.lock().unwrap_or_else(PoisonError::into_inner) = outcome.active;
}

fn observe(context: &Context) -> Observed {
    Observed {
        endpoints: context.world.endpoints.select(|_| true),
        clients: context.world.clients.select(|_| true),
        grants: context.world.grants.select(|_| true),
    }
}

/// Deletes what has ended, if it is as it was when that was found.
async fn collect<K>(context: &Context, object: &Guarded<K>, end: End)
where
    Guarded<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let preconditions = Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() });
    let api: Api<Guarded<K>> = Api::namespaced(context.client.clone(), &namespace);
    let kind = Guarded::<K>::kind(&());
    match api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => context.metrics.wrote(&kind, Verb::Delete),
        // It is gone, or changed: the next look tells.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
        Err(error) => {
            tracing::warn!(%kind, namespace, name, %end, error = chain(&error), "cannot be deleted; it is retried");
        }
    }
}

/// Keeps the counts. Returns the endpoints whose status, or whose clients' status, says otherwise.
fn count(context: &Context, active: ActiveGrants) -> BTreeSet<(String, String)> {
    let mut counts = context.active_grants.lock().unwrap_or_else(PoisonError::into_inner);
    if *counts == active {
        return BTreeSet::new();
    }
    let endpoints = counts.of_endpoints.keys().chain(active.of_endpoints.keys()).cloned();
    let changed = endpoints.filter(|name| counts.of_endpoints.get(name) != active.of_endpoints.get(name));
    let clients = counts.of_clients.keys().chain(active.of_clients.keys());
    let of_clients = clients.filter(|name| counts.of_clients.get(*name) != active.of_clients.get(*name));
    let of_clients = of_clients.filter_map(|(namespace, name)| {
        let client = context.world.clients.get(namespace, name)?;
        Some((namespace.clone(), client.0.as_ref().ok()?.spec.endpoint_ref.name.clone()))
    });
    let told = changed.chain(of_clients).collect();
    *counts = active;
    told
}

/// Says of a client that registered itself that it is ready: nothing has to be made for it.
async fn report_registered(context: &Context, client: &Guarded<OAuthClient>, now: Timestamp) {
    let Ok(client) = &client.0 else { return };
    if client.spec.registration.is_none() || client.metadata.deletion_timestamp.is_some() {
        return;
    }
    let namespace = client.namespace().unwrap_or_default();
    let status = status::registered_status(client, context.active_grants_of(client), now);
    if let Err(error) = write_client_status(context, &namespace, client, &status).await {
        tracing::warn!(
            namespace,
            client = client.name_any(),
            error = chain(&error),
            "status not written; it is retried"
        );
    }
}
