//! The reconcile of one endpoint and its clients: observe, plan, apply, reload the servers, verify, report.

use crate::{
    apply::{Applied, Applier, ApplyError, describe},
    context::{Context, ReconcileState, Verification},
    hosts,
    metrics::{ReconcileOutcome, Subject},
    report::write_client_status,
    servers::{self, Report, Server},
    status::{self, Blocker, reason},
    stores::{EndpointKey, Guarded, key},
    verify::{common, operator_token, verify},
};
use futures::future::try_join_all;
use jiff::SignedDuration;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    core::{TypeMeta, dynamic::ParseDynamicObjectError},
    runtime::controller::Action,
};
use portcullis_api::{McpEndpoint, OAuthClient, condition::conditions};
use portcullis_core::report::chain;
use portcullis_plan::{self, ENDPOINT_LABEL, Inputs, Plan, PlanError};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How often an unchanged endpoint is verified again.
const VERIFY_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// How often to read the reports of up-to-date servers again: reports about peers and about renewed certificates change
/// without a watch event.
const ASK_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// How often to verify again after a failed verification.
const VERIFY_FAILED_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// How often to check whether a taken name is free.
pub(super) const TAKEN_RETRY: Duration = Duration::from_mins(1);

/// Why an endpoint is not as planned.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// An object could not be applied or deleted.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A status could not be written.
    #[error("the status of {0} could not be written")]
    Status(String, #[source] Box<kube::Error>),
    /// A server's pod could not be annotated.
    #[error("pod {0} could not be annotated")]
    Annotate(String, #[source] Box<kube::Error>),
    /// A watched Secret cannot be read as a Secret.
    #[error("a watched Secret cannot be read as a Secret")]
    Secret(#[source] ParseDynamicObjectError),
}

impl ReconcileError {
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Apply(error) => error.explain(),
            Self::Status(..) | Self::Annotate(..) | Self::Secret(_) => chain(self),
        }
    }

    pub(super) fn outcome(&self) -> ReconcileOutcome {
        let source = match self {
            Self::Apply(ApplyError::Stale(_)) => return ReconcileOutcome::Stale,
            Self::Apply(ApplyError::Api { source, .. }) | Self::Status(_, source) | Self::Annotate(_, source) => source,
            Self::Apply(ApplyError::UnknownKind(_) | ApplyError::Plan(_) | ApplyError::Json(..)) | Self::Secret(_) => {
                return ReconcileOutcome::Unplannable;
            }
        };
        if matches!(**source, kube::Error::Api(_)) { ReconcileOutcome::Refused } else { ReconcileOutcome::Unreachable }
    }
}

/// The result of a successful reconcile.
pub(super) enum EndpointProgress {
    Done,
    /// Something is in progress; reconcile again soon.
    Waiting,
    /// It needs a change by a user that no watch reports.
    Blocked,
}

/// Reconciles one endpoint.
pub async fn reconcile(endpoint: Arc<Guarded<McpEndpoint>>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let (namespace, name) = (endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    let key = key(&namespace, &name);
    let mut state = context.recall(&key);
    // Changes since the event count too.
    let newest = context.stores.endpoints.get(&namespace, &name).unwrap_or(endpoint);
    let result = match &newest.0 {
        Ok(valid) if valid.metadata.deletion_timestamp.is_some() => Ok(EndpointProgress::Done),
        Ok(valid) => {
            EndpointReconcile { context: &context, key: &key, endpoint: valid, namespace: &namespace, name: &name }
                .run(&mut state)
                .await
        }
        Err(invalid) => {
            let generation = invalid.metadata.generation;
            report_unreadable(&context, &namespace, &name, generation, &invalid.error, &mut state).await
        }
    };
    state.failures = if result.is_err() { state.failures.saturating_add(1) } else { 0 };
    state.waits = if matches!(result, Ok(EndpointProgress::Waiting)) { state.waits.saturating_add(1) } else { 0 };
    let waits = state.waits;
    context.remember(key, state);
    let (outcome, result) = match result {
        Ok(EndpointProgress::Done) => (ReconcileOutcome::Done, Ok(Action::await_change())),
        Ok(EndpointProgress::Waiting) => (
            ReconcileOutcome::Waiting,
            Ok(Action::requeue(backoff(Duration::from_millis(100), waits, Duration::from_secs(30)))),
        ),
        Ok(EndpointProgress::Blocked) => (ReconcileOutcome::Unplannable, Ok(Action::requeue(TAKEN_RETRY))),
        Err(error) => (error.outcome(), Err(error)),
    };
    context.metrics.reconciled(Subject::McpEndpoint, outcome, started.elapsed());
    result
}

/// The delay after a failure: a plan from an older state is repeated at once, anything else with backoff.
#[expect(clippy::needless_pass_by_value, reason = "kube-runtime's signature")]
pub fn error_policy(endpoint: Arc<Guarded<McpEndpoint>>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let (namespace, name) = (endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    let failures = context.recall(&key(&namespace, &name)).failures;
    retry(error, failures, &namespace, &name)
}

/// The delay after this number of consecutive failures.
pub(super) fn retry(error: &ReconcileError, failures: u32, namespace: &str, name: &str) -> Action {
    let (first, most) = match error.outcome() {
        ReconcileOutcome::Stale => (Duration::from_millis(50), Duration::from_secs(30)),
        ReconcileOutcome::Unreachable => (Duration::from_millis(500), Duration::from_secs(30)),
        _ => (Duration::from_secs(1), Duration::from_mins(5)),
    };
    if !matches!(error.outcome(), ReconcileOutcome::Stale) || failures > 5 {
        tracing::warn!(namespace, name, failures, error = error.explain(), "reconcile failed; it is retried");
    }
    Action::requeue(backoff(first, failures, most))
}

/// Exponential backoff that starts with `first`.
fn backoff(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}

/// Writes the statuses of the clients of a missing endpoint.
pub async fn endpoint_missing(context: &Context, namespace: &str, name: &str) {
    let key = key(namespace, name);
    context.forget(&key);
    let message = format!("McpEndpoint {name:?} does not exist in this namespace; create it, or remove this client");
    let blocker = Blocker { reason: reason::ENDPOINT_NOT_FOUND, message };
    for client in clients_of(context, namespace, name) {
        let status = status::stranded_status(&client, &blocker, context.clock.now());
        if let Err(error) = write_client_status(context, namespace, &client, &status).await {
            tracing::warn!(namespace, name, error = error.explain(), "retried in a minute");
            let later = context.clock.now().saturating_add(SignedDuration::from_mins(1));
            context.requeues.set(&key, later.ok());
        }
    }
}

async fn report_unreadable(
    context: &Context,
    namespace: &str,
    name: &str,
    generation: Option<i64>,
    error: &str,
    state: &mut ReconcileState,
) -> Result<EndpointProgress, ReconcileError> {
    if state.unreadable == generation && generation.is_some() {
        return Ok(EndpointProgress::Done);
    }
    tracing::warn!(namespace, name, error, "an McpEndpoint cannot be read");
    let message = format!("the manifest cannot be read: {error}; update the CRDs and the operator to the same version");
    let blocker = Blocker { reason: reason::INVALID, message };
    let findings = status::blocked_findings(&blocker);
    let conditions = conditions(&findings, &[], generation, context.clock.now());
    let status = json!({"observedGeneration": generation, "conditions": conditions});
    context
        .write_status(&context.stores.endpoints, namespace, name, &status)
        .await
        .map_err(|error| ReconcileError::Status(format!("McpEndpoint {name:?}"), Box::new(error)))?;
    state.unreadable = generation;
    Ok(EndpointProgress::Done)
}

fn clients_of(context: &Context, namespace: &str, endpoint: &str) -> Vec<OAuthClient> {
    let clients = context.stores.clients.group(namespace, endpoint);
    let clients = clients.iter().filter_map(|client| client.0.as_ref().ok());
    let configured = clients.filter(|client| client.spec.registration.is_none());
    configured.filter(|client| client.metadata.deletion_timestamp.is_none()).cloned().collect()
}

/// One reconcile of an endpoint that can be read.
pub(super) struct EndpointReconcile<'a> {
    pub(super) context: &'a Context,
    pub(super) key: &'a EndpointKey,
    pub(super) endpoint: &'a McpEndpoint,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl EndpointReconcile<'_> {
    async fn run(&self, state: &mut ReconcileState) -> Result<EndpointProgress, ReconcileError> {
        let clients = clients_of(self.context, self.namespace, self.name);
        let applier = Applier {
            client: &self.context.client,
            objects: &self.context.stores.objects,
            metrics: &self.context.metrics,
            namespace: self.namespace,
            label: (ENDPOINT_LABEL, self.name),
        };
        let owners: Vec<OwnerReference> = [self.endpoint.controller_owner_ref(&())]
            .into_iter()
            .chain(clients.iter().map(|client| client.controller_owner_ref(&())))
            .flatten()
            .collect();
        if applier.adopt(&owners).await? {
            return Err(ApplyError::Stale(format!("McpEndpoint {:?}", self.name)).into());
        }
        let plan = match self.plan(&clients, state).await? {
            Ok(plan) => plan,
            Err(error) => return self.report_unplannable(&clients, &error).await,
        };
        let blocker = match self.apply(&applier, &plan, &owners, state).await {
            Ok(blocker) => blocker,
            Err(error) => return self.report_refusal(error).await,
        };
        self.tell_changes(&clients, &plan.clients).await;
        self.tell_key_changes(&plan.key_changes).await;

        let servers = servers::running(&self.context.stores, self.namespace, self.name);
        let reports = self.load(&servers, &plan, state).await?;
        self.verify(&servers, &reports, &plan, state).await;
        let next = state.verified.as_ref().and_then(|last| {
            let again = if last.outcome.is_ok() { VERIFY_EVERY } else { VERIFY_FAILED_EVERY };
            last.at.checked_add(again).ok()
        });
        let now = self.context.clock.now();
        let ask = (!servers.is_empty()).then(|| now.checked_add(ASK_EVERY).ok()).flatten();
        let rollout = self.rollout(now);
        let times = plan.next_change.into_iter().chain(next).chain(ask).chain(rollout.look_again);
        self.context.requeues.set(self.key, times.min());

        let named: Vec<(String, Report)> = servers.iter().map(|server| server.name.clone()).zip(reports).collect();
        self.report(&clients, &plan, &named, &rollout, state, blocker.as_ref()).await?;
        let lagging = named.iter().any(|(_, report)| !status::is_current(report, &plan.revision));
        let unverified = servers.iter().any(|server| server.ready) && state.verified.is_none();
        Ok(match blocker {
            _ if lagging || unverified => EndpointProgress::Waiting,
            Some(_) => EndpointProgress::Blocked,
            None if !state.unlabelled_secrets.is_empty() => EndpointProgress::Blocked,
            None => EndpointProgress::Done,
        })
    }

    async fn plan(
        &self,
        clients: &[OAuthClient],
        state: &mut ReconcileState,
    ) -> Result<Result<Plan, PlanError>, ReconcileError> {
        let mut secrets = BTreeMap::new();
        let watched = self.context.stores.objects.of(&TypeMeta::resource::<Secret>());
        for live in watched.map(|cache| cache.labelled(self.namespace, (ENDPOINT_LABEL, self.name))).unwrap_or_default()
        {
            secrets.insert(live.name_any(), (*live).clone().try_parse::<Secret>().map_err(ReconcileError::Secret)?);
        }
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), self.namespace);
        for name in std::mem::take(&mut state.unlabelled_secrets) {
            let live = api.get_opt(&name).await.map_err(|error| ApplyError::Api {
                object: format!("Secret {name:?}"),
                what: "read",
                source: Box::new(error),
            })?;
            if let Some(live) = live {
                secrets.entry(name.clone()).or_insert(live);
                state.unlabelled_secrets.insert(name);
            }
        }
        let clients: Vec<&OAuthClient> = clients.iter().collect();
        let cluster = self.context.stores.facts();
        let deployment = self.context.stores.objects.get::<Deployment>(self.namespace, self.name);
        let replicas = deployment.and_then(|live| i32::try_from(live.data["spec"]["replicas"].as_i64()?).ok());
        let taken = hosts::taken(&self.context.stores, self.endpoint);
        let inputs = Inputs {
            endpoint: self.endpoint,
            clients: &clients,
            secrets: &secrets,
            cluster: &cluster,
            taken: taken.as_ref(),
            replicas,
            now: self.context.clock.now(),
        };
        Ok(portcullis_plan::plan(&inputs, &mut self.context.rng()))
    }

    /// Applies the plan and deletes obsolete objects. Returns why a part of the plan was not applied.
    async fn apply(
        &self,
        applier: &Applier<'_>,
        plan: &Plan,
        owners: &[OwnerReference],
        state: &mut ReconcileState,
    ) -> Result<Option<Blocker>, ApplyError> {
        let mut taken = Vec::new();
        for planned in &plan.objects {
            self.transfer_replicas(planned).await?;
            match applier.apply(planned).await? {
                Applied::Unchanged | Applied::Written => {}
                Applied::Repaired => {
                    let note = format!("{} was changed; it was restored", describe(&planned.object));
                    self.context.events.note(self.endpoint, "DriftRepaired", "Apply", note).await;
                }
                Applied::NameTaken if planned.generated => {
                    // The next plan knows about it, and makes no credentials for it.
                    state.unlabelled_secrets.insert(planned.object.name_any());
                    return Err(ApplyError::Stale(describe(&planned.object)));
                }
                Applied::NameTaken => taken.push(describe(&planned.object)),
            }
        }
        let owners: BTreeSet<&str> = owners.iter().map(|owner| owner.uid.as_str()).collect();
        for deleted in applier.delete_orphans(&plan.objects, &owners).await? {
            tracing::info!(namespace = self.namespace, endpoint = self.name, deleted, "no longer planned");
        }
        Ok((!taken.is_empty()).then(|| Blocker {
            reason: reason::NAME_TAKEN,
            message: format!("{} belongs to something else; remove it, or rename the endpoint", taken.join(", ")),
        }))
    }

    /// Reads which revision the servers have loaded, and annotates the pods of outdated ones.
    async fn load(
        &self,
        servers: &[Server],
        plan: &Plan,
        state: &mut ReconcileState,
    ) -> Result<Vec<Report>, ReconcileError> {
        let now = self.context.clock.now();
        let reports = servers::ask(&self.context.probe, servers, &plan.revision, &mut state.loaded, now).await;
        let lagging = servers.iter().zip(&reports).filter(|(_, report)| !status::has_loaded(report, &plan.revision));
        let Context { client, metrics, stores, .. } = self.context;
        try_join_all(lagging.map(async |(server, _)| {
            let annotated = servers::annotate(client, metrics, stores, self.namespace, server, &plan.revision).await;
            annotated.map_err(|error| ReconcileError::Annotate(server.name.clone(), Box::new(error)))
        }))
        .await?;
        Ok(reports)
    }

    /// Verifies the servers that are ready and up to date, unless they were verified recently.
    async fn verify(&self, servers: &[Server], reports: &[Report], plan: &Plan, state: &mut ReconcileState) {
        let subjects: Vec<&Server> = servers
            .iter()
            .zip(reports)
            .filter(|(server, report)| server.ready && status::has_loaded(report, &plan.revision))
            .map(|(server, _)| server)
            .collect();
        let incarnations = subjects.iter().map(|server| server.incarnation.clone()).collect();
        let subject = (plan.revision.clone(), incarnations);
        let now = self.context.clock.now();
        let lately = |last: &Verification| last.subject == subject && now.duration_since(last.at) < VERIFY_EVERY;
        if state.verified.as_ref().is_some_and(|last| last.outcome.is_ok() && lately(last)) {
            return;
        }
        state.verified = None;
        if subjects.is_empty() {
            return;
        }
        let token = operator_token(&plan.config.url, &plan.signing_keys, now, &mut self.context.rng());
        let outcome = match &token {
            Ok(token) => {
                let visits = subjects.iter().map(|server| verify(&self.context.probe, server, &plan.config, token));
                try_join_all(visits).await.map(|offers| common(&offers))
            }
            Err(error) => Err(error.clone()),
        };
        state.verified = Some(Verification { subject, at: now, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_spaced_out_up_to_a_limit() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(30));
        for (times, expected) in [(0, 100), (1, 100), (2, 200), (3, 400), (9, 25_600), (10, 30_000), (u32::MAX, 30_000)]
        {
            assert_eq!(backoff(first, times, most), Duration::from_millis(expected), "{times}");
        }
    }
}
