//! Reports the result of a reconcile as statuses and Events, if it differs from the previous ones.

use crate::{
    apply::ApplyError,
    context::{Context, ReconcileState},
    reconcile::{EndpointProgress, EndpointReconcile, ReconcileError},
    servers::Report,
    status::{self, Blocker, EndpointObservation, ExposedBy, Notes, Rollout, reason},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, networking::v1::Ingress},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::ResourceExt as _;
use portcullis_api::{
    McpEndpointStatus, OAuthClient, OAuthClientStatus,
    condition::{AVAILABLE, CREDENTIALS_LOADED, READY, STALLED},
    tools,
};
use portcullis_core::{endpoint_paths::has_console, report::chain};
use portcullis_plan::{ClientPlan, CredentialChange, ENDPOINT_LABEL, KeyChange, OptionalKind, Plan, PlanError};

/// The reasons of `Ready` that need an action of a user.
const WARNINGS: [&str; 20] = [
    reason::NAME_TAKEN,
    reason::APPLY_FAILED,
    reason::INVALID,
    reason::REJECTED,
    reason::STEP_FAILED,
    reason::SECRET_NOT_FOUND,
    reason::SECRET_KEY_MISSING,
    reason::USER_MALFORMED,
    reason::USER_TOO_COSTLY,
    reason::ROUTE_REFUSED,
    reason::GATEWAY_API_MISSING,
    reason::URL_TAKEN,
    reason::HOST_TAKEN,
    reason::HOST_NOT_PERMITTED,
    reason::CLASS_NOT_PERMITTED,
    reason::ANNOTATIONS_REFUSED,
    reason::EXEC_POLICY_MISSING,
    reason::EXEC_POLICY_CHANGED,
    reason::INGRESS_CLASS_NOT_FOUND,
    reason::NO_DEFAULT_INGRESS_CLASS,
];

/// Writes a client's status.
pub(super) async fn write_client_status(
    context: &Context,
    namespace: &str,
    client: &OAuthClient,
    status: &OAuthClientStatus,
) -> Result<(), ReconcileError> {
    if client.status.as_ref() == Some(status) {
        return Ok(());
    }
    let name = client.name_any();
    let written = context.write_status(&context.stores.clients, namespace, &name, status).await;
    written.map_err(|error| ReconcileError::Status(format!("OAuthClient {name:?}"), Box::new(error)))
}

impl EndpointReconcile<'_> {
    /// Observes the rollout of the servers.
    pub(super) fn rollout(&self, now: Timestamp) -> Rollout {
        let stores = &self.context.stores;
        let deployment = stores.objects.get::<Deployment>(self.namespace, self.name);
        let pods = stores.pods.labelled(self.namespace, (ENDPOINT_LABEL, self.name));
        let previous = self.endpoint.status.iter().flat_map(|status| &status.conditions);
        let previous = previous.into_iter().find(|condition| condition.type_ == STALLED);
        Rollout::observe(deployment.as_deref(), &pods, previous, now)
    }

    pub(super) async fn report(
        &self,
        clients: &[OAuthClient],
        plan: &Plan,
        servers: &[(String, Report)],
        rollout: &Rollout,
        state: &ReconcileState,
        blocker: Option<&Blocker>,
    ) -> Result<(), ReconcileError> {
        let stores = &self.context.stores;
        let deployment = stores.objects.get::<Deployment>(self.namespace, self.name);
        let ingress = stores.objects.get::<Ingress>(self.namespace, self.name);
        let route = stores.objects.get_optional(OptionalKind::HttpRoute, self.namespace, self.name);
        let exposure = &self.endpoint.spec.exposure;
        let missing_class = status::missing_class(exposure.ingress.as_ref(), &stores.facts(), ingress.as_deref());
        let exposed_by = match (&plan.route_problem, &exposure.gateway, &exposure.none) {
            (_, _, Some(_)) => ExposedBy::None,
            (Some(problem), ..) => ExposedBy::Refused(problem),
            (None, Some(_), None) if stores.objects.of(&OptionalKind::HttpRoute.types()).is_none() => {
                ExposedBy::NoGatewayApi
            }
            (None, Some(gateway), None) => {
                ExposedBy::HttpRoute { parents: &gateway.parent_refs, live: route.as_deref() }
            }
            (None, None, None) => {
                missing_class.as_ref().map_or_else(|| ExposedBy::Ingress(ingress.as_deref()), ExposedBy::NoIngressClass)
            }
        };
        let exec_problem = stores.exec_policy.problem();
        let writes_problem = stores.server_writes_policy.problem();
        let outdated = self.context.definitions.problem();
        let outdated = outdated.map(|message| Blocker { reason: reason::DEFINITIONS_OUTDATED, message });
        let observed = EndpointObservation {
            url: &plan.config.url,
            revision: &plan.revision,
            namespace: self.namespace,
            deployment: deployment.as_ref().map(|live| &live.data),
            rollout,
            exposed_by,
            notes: Notes {
                cors: plan.cors_enforcer,
                cors_note: plan.cors_note.as_deref(),
                backend_note: plan.backend_note.as_deref(),
                annotations_note: plan.annotations_note.as_deref(),
            },
            servers,
            verified: state.verified.as_ref().map(|last| &last.outcome),
            active_grants: self.context.active_grants_at(self.namespace, self.name),
            logins: (self.endpoint.spec.login.len(), &plan.login_problems),
            exec_problem: exec_problem.as_ref(),
            writes_problem: writes_problem.as_ref(),
            rotated_for: plan.keys_rotated_for.as_deref(),
            limits_problem: plan.limits_problem.as_deref(),
            unknown_tools: &tools::unknown(&self.endpoint.spec.tools),
            console_served: plan.config.external_issuer.is_some()
                || has_console(&plan.config.url, &plan.config.path_aliases),
            blocker,
            definitions: outdated.as_ref(),
        };
        let now = self.context.clock.now();
        let findings = status::endpoint_findings(&observed);
        if let Some(loaded) = findings.iter().find(|finding| finding.kind == CREDENTIALS_LOADED) {
            for client in clients {
                let Some(planned) = plan.clients.iter().find(|planned| planned.name == client.name_any()) else {
                    continue;
                };
                let active_grants = self.context.active_grants_of(client);
                let status = OAuthClientStatus { active_grants, ..status::client_status(client, planned, loaded, now) };
                write_client_status(self.context, self.namespace, client, &status).await?;
            }
        }
        self.write_status(&status::endpoint_status(self.endpoint, &observed, &plan.clients, now)).await
    }

    async fn write_status(&self, status: &McpEndpointStatus) -> Result<(), ReconcileError> {
        let before = self.endpoint.status.as_ref();
        if before == Some(status) {
            return Ok(());
        }
        let written =
            self.context.write_status(&self.context.stores.endpoints, self.namespace, self.name, status).await;
        written.map_err(|error| ReconcileError::Status(format!("McpEndpoint {:?}", self.name), Box::new(error)))?;
        let before = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
        self.tell_readiness(before, &status.conditions).await;
        self.tell_stall(before, &status.conditions).await;
        Ok(())
    }

    /// Publishes an Event if `Ready` changed.
    async fn tell_readiness(&self, before: &[Condition], after: &[Condition]) {
        let ready = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == READY).cloned();
        let Some(after) = ready(after) else { return };
        let before = ready(before);
        if before.is_some_and(|before| before.status == after.status && before.reason == after.reason) {
            return;
        }
        let about = self.endpoint;
        if after.status == "True" {
            self.context.events.note(about, &after.reason, "Reconcile", after.message).await;
        } else if WARNINGS.contains(&after.reason.as_str()) {
            self.context.events.warn(about, &after.reason, "Reconcile", after.message).await;
        }
    }

    /// Publishes an Event if the servers stall for a new reason, one ran out of memory, or one refused its files, unless the
    /// Event for `Ready` reports it.
    async fn tell_stall(&self, before: &[Condition], after: &[Condition]) {
        let is_bad = |condition: &&Condition| match condition.type_.as_str() {
            STALLED => true,
            AVAILABLE => condition.reason == reason::OUT_OF_MEMORY,
            CREDENTIALS_LOADED => condition.reason == reason::REJECTED,
            _ => false,
        };
        let is_known = |bad: &Condition| before.iter().any(|old| old.type_ == bad.type_ && old.reason == bad.reason);
        let is_told = |bad: &Condition| {
            let ready = after.iter().find(|condition| condition.type_ == READY);
            WARNINGS.contains(&bad.reason.as_str()) && ready.is_some_and(|ready| ready.reason == bad.reason)
        };
        for bad in after.iter().filter(is_bad).filter(|bad| !is_known(bad) && !is_told(bad)) {
            self.context.events.warn(self.endpoint, &bad.reason, "Reconcile", bad.message.clone()).await;
        }
    }

    /// Publishes an Event for every generated secret.
    pub(super) async fn tell_changes(&self, clients: &[OAuthClient], plans: &[ClientPlan]) {
        for plan in plans {
            let Some(client) = clients.iter().find(|client| client.name_any() == plan.name) else { continue };
            let secret = plan.secret_name.as_deref().unwrap_or_default();
            let (reason, note) = match plan.change {
                Some(CredentialChange::Created) => {
                    ("SecretCreated", format!("a client secret was generated in Secret {secret:?}"))
                }
                Some(CredentialChange::Rotated) => {
                    ("SecretRotated", format!("a new client secret is in Secret {secret:?}"))
                }
                Some(CredentialChange::Healed) => (
                    "SecretHealed",
                    format!(
                        "Secret {secret:?} was damaged; it has a new client secret, and the old one is no longer valid"
                    ),
                ),
                None => continue,
            };
            self.context.events.note(client, reason, "Apply", note).await;
        }
    }

    /// Publishes an Event for every change of the endpoint's keys.
    pub(super) async fn tell_key_changes(&self, changes: &[KeyChange]) {
        for change in changes {
            let (reason, note) = match change {
                KeyChange::Created => ("SigningKeyCreated", "a signing key was generated"),
                KeyChange::Healed => (
                    "SigningKeysHealed",
                    "the Secret with the signing keys was damaged; usable keys are kept, and tokens signed with the others are no longer valid",
                ),
                KeyChange::Published => {
                    ("SigningKeyPublished", "the next signing key is published; it will sign tokens in some minutes")
                }
                KeyChange::Rotated => (
                    "SigningKeyRotated",
                    "a new key signs access tokens; the previous one remains published until its last token has expired",
                ),
            };
            self.context.events.note(self.endpoint, reason, "Apply", note.to_owned()).await;
        }
    }

    pub(super) async fn report_unplannable(
        &self,
        clients: &[OAuthClient],
        error: &PlanError,
    ) -> Result<EndpointProgress, ReconcileError> {
        let reason = if matches!(error, PlanError::NameTaken { .. }) { reason::NAME_TAKEN } else { reason::INVALID };
        let blocker = Blocker { reason, message: chain(error) };
        let now = self.context.clock.now();
        for client in clients {
            let message = format!("McpEndpoint {:?}: {}", self.name, blocker.message);
            let status = status::stranded_status(client, &Blocker { reason, message }, now);
            write_client_status(self.context, self.namespace, client, &status).await?;
        }
        self.write_status(&status::blocked_status(self.endpoint, &blocker, now)).await?;
        Ok(EndpointProgress::Blocked)
    }

    /// Reports a refusal of the API server in the status, and returns the error.
    pub(super) async fn report_refusal(&self, error: ApplyError) -> Result<EndpointProgress, ReconcileError> {
        if error.is_refused() {
            let blocker = Blocker { reason: reason::APPLY_FAILED, message: error.explain() };
            self.write_status(&status::blocked_status(self.endpoint, &blocker, self.context.clock.now())).await?;
        }
        Err(error.into())
    }
}
