//! Deletes ended grants, registrations and accounts, writes the statuses of registered clients and `OAuthUser`s, and
//! counts active grants.
//!
//! A separate task, since token refreshes change grants constantly and no plan depends on them. It runs when the stores
//! changed, at most once a second, and when the next object ends.

use crate::{
    accounts,
    context::Context,
    gc::{ActiveGrants, EndReason, GarbageCollector, ObservedGrants},
    metrics::Verb,
    queue::Queue,
    report::write_client_status,
    status,
    stores::{EndpointKey, Guarded, key},
    users::UserReports,
};
use futures::{StreamExt as _, future, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Preconditions},
    core::NamespaceResourceScope,
};
use portcullis_api::{OAuthClient, OAuthGrant};
use portcullis_core::report::chain;
use portcullis_telemetry::audit::Event;
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, PoisonError},
    time::Duration,
};

/// The shortest time between two runs: changes come in bursts, and failures are retried.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the counts in statuses may change.
const COUNTS_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// The maximum number of deletions of one kind in a run, so that counts and statuses continue while thousands expire.
const BATCH: usize = 500;
/// The maximum number of concurrent deletions.
const DELETIONS: usize = 8;

/// Runs until the task is aborted. Sends endpoints whose count changed to `queue`.
///
/// Runs when endpoints, clients, grants or `OAuthUser`s changed, and when the next of them ends; otherwise it is idle.
pub(crate) async fn run(context: Arc<Context>, queue: Queue<EndpointKey>) {
    let mut gc = GarbageCollector::default();
    let mut counted_at: Option<Timestamp> = None;
    let mut users = UserReports::default();
    loop {
        let now = context.clock.now();
        let observed = observe(&context);
        let decisions = gc.decide(&observed, now);
        let doomed: Vec<_> = decisions.grants.iter().take(BATCH).cloned().collect();
        stream::iter(doomed)
            .for_each_concurrent(DELETIONS, |(grant, end)| {
                let context = Arc::clone(&context);
                async move { collect_grant(&context, &grant, end).await }
            })
            .await;
        let doomed: Vec<_> = decisions.clients.iter().take(BATCH).cloned().collect();
        stream::iter(doomed)
            .for_each_concurrent(DELETIONS, |(client, end)| {
                let context = Arc::clone(&context);
                async move { collect_client(&context, &client, end).await }
            })
            .await;
        let unneeded = accounts::unneeded(&context.stores.accounts.select(|_| true), &observed.grants, now);
        let doomed: Vec<_> = unneeded.accounts.iter().take(BATCH).cloned().collect();
        stream::iter(doomed)
            .for_each_concurrent(DELETIONS, |account| {
                let context = Arc::clone(&context);
                async move {
                    collect(&context, &account, EndReason::Unneeded).await;
                }
            })
            .await;
        // A deletion can fail, and the batch may have left some objects.
        let mut again = !decisions.grants.is_empty() || !decisions.clients.is_empty() || !unneeded.accounts.is_empty();
        let mut next = decisions.next.into_iter().chain(unneeded.next).min();
        let recount_at = counted_at.and_then(|last| last.checked_add(COUNTS_EVERY).ok()).filter(|at| *at > now);
        if recount_at.is_none() {
            for (namespace, name) in count(&context, decisions.active) {
                counted_at = Some(now);
                queue.send(key(&namespace, &name));
            }
        } else if *context.active_grants.lock().unwrap_or_else(PoisonError::into_inner) != decisions.active {
            next = next.into_iter().chain(recount_at).min();
        }
        again |= !users.write(&context, &observed.grants, now).await;
        for client in &observed.clients {
            again |= !report_registered(&context, client, now).await;
        }
        tokio::time::sleep(PAUSE).await;
        if again {
            continue;
        }
        let due = async {
            match next {
                Some(time) => context.clock.sleep_until(time).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = context.stores.collectable.notified() => {}
        }
    }
}

async fn collect_grant(context: &Context, grant: &Guarded<OAuthGrant>, end: EndReason) {
    if collect(context, grant, end).await
        && let Ok(OAuthGrant { spec, .. }) = &grant.0
    {
        let (grant, reason) = (&grant.name_any(), &end.to_string());
        Event::GrantCollected { grant, client_id: &spec.client_id, user: &spec.user.id, reason }.emit();
    }
}

async fn collect_client(context: &Context, client: &Guarded<OAuthClient>, end: EndReason) {
    if collect(context, client, end).await {
        Event::RegistrationCollected { client_id: &client.name_any(), reason: &end.to_string() }.emit();
    }
}

/// Counts before anything is reported.
pub(crate) fn count_first(context: &Context) {
    let decisions = GarbageCollector::default().decide(&observe(context), context.clock.now());
    *context.active_grants.lock().unwrap_or_else(PoisonError::into_inner) = decisions.active;
}

fn observe(context: &Context) -> ObservedGrants {
    ObservedGrants {
        endpoints: context.stores.endpoints.select(|_| true),
        clients: context.stores.clients.select(|_| true),
        grants: context.stores.grants.select(|_| true),
    }
}

/// Deletes what has ended, if it is as it was when that was found. Returns whether it was deleted by this call.
async fn collect<K>(context: &Context, object: &Guarded<K>, end: EndReason) -> bool
where
    Guarded<K>: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let preconditions = Some(Preconditions { uid: object.uid(), resource_version: object.resource_version() });
    let api: Api<Guarded<K>> = Api::namespaced(context.client.clone(), &namespace);
    let kind = Guarded::<K>::kind(&());
    match api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => {
            context.metrics.wrote(&kind, Verb::Delete);
            true
        }
        // It is gone, or changed: the next look tells.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => false,
        Err(error) => {
            tracing::warn!(%kind, namespace, name, %end, error = chain(&error), "cannot be deleted; it is retried");
            false
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
        let client = context.stores.clients.get(namespace, name)?;
        Some((namespace.clone(), client.0.as_ref().ok()?.spec.endpoint_ref.name.clone()))
    });
    let told = changed.chain(of_clients).collect();
    *counts = active;
    told
}

/// Says of a client that registered itself that it is ready: nothing has to be made for it. Returns whether that is done.
async fn report_registered(context: &Context, client: &Guarded<OAuthClient>, now: Timestamp) -> bool {
    let Ok(client) = &client.0 else { return true };
    if client.spec.registration.is_none() || client.metadata.deletion_timestamp.is_some() {
        return true;
    }
    let namespace = client.namespace().unwrap_or_default();
    let status = status::registered_status(client, context.active_grants_of(client), now);
    let written = write_client_status(context, &namespace, client, &status).await;
    if let Err(error) = &written {
        tracing::warn!(
            namespace,
            client = client.name_any(),
            error = chain(error),
            "status not written; it is retried"
        );
    }
    written.is_ok()
}
