//! Applies plans to the cluster: server-side apply with one field manager, and only where something differs.
//!
//! A stale cache never causes a loss of credentials: an object with new content is written only over the version that the
//! plan saw, or if a live read finds no object. Objects of other owners are never overwritten or deleted.

use crate::{
    cache::Cache,
    diff::{self, APPLIED_ANNOTATION},
    metrics::{Metrics, Verb},
    stores::ObjectCaches,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use portcullis_core::report::chain;
use portcullis_plan::{MANAGED_BY, PlanError, PlannedObject};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "portcullis";
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The result for one planned object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was as planned; nothing was written.
    Unchanged,
    /// It was created or changed.
    Written,
    /// Fields that the operator owns had been changed; they were restored as planned.
    Repaired,
    /// Its name belongs to another owner's object, which was not changed.
    NameTaken,
}

/// Why a planned object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan was made from an older state; a new plan is needed.
    #[error("{0} changed while it was being planned")]
    Stale(String),
    /// The API server refused or could not be reached.
    #[error("{object} could not be {what}")]
    Api {
        /// Kind and name.
        object: String,
        /// The operation: read, written or deleted.
        what: &'static str,
        /// The error of the API client.
        #[source]
        source: Box<kube::Error>,
    },
    /// The plan contains a kind that the operator does not watch.
    #[error("{0} is of a kind that the operator does not watch")]
    UnknownKind(String),
    /// Nothing could be planned.
    #[error("it could not be planned")]
    Plan(#[source] PlanError),
    /// An object cannot be written as JSON.
    #[error("{0} cannot be written as JSON")]
    Json(String, #[source] serde_json::Error),
}

impl ApplyError {
    /// The error and its causes in one line. Of a Secret only the kind of refusal: the API server, or an admission
    /// webhook, may repeat what it refused.
    #[must_use]
    pub fn explain(&self) -> String {
        match self {
            Self::Api { object, what, source } if object.starts_with("Secret ") => match &**source {
                kube::Error::Api(answer) => format!("{object} could not be {what}: {}", answer.reason),
                _ => chain(self),
            },
            _ => chain(self),
        }
    }

    /// Whether the API server understood the request and refused it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(**source, kube::Error::Api(_)))
    }

    fn is_invalid(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(answer) if answer.is_invalid()))
    }
}

/// The ownership of a live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ownership {
    /// Its owner is the planned one.
    Ours,
    /// It has the operator's labels, but no controller: its owner reference was removed.
    Adoptable,
    /// It belongs to another owner.
    Foreign,
}

/// Applies and deletes the objects of one endpoint, or of one workspace.
#[derive(Clone, Copy)]
pub struct Applier<'a> {
    /// For the writes.
    pub client: &'a Client,
    /// The stores of the kinds in its plan; responses to writes update them.
    pub objects: &'a ObjectCaches,
    /// Counts the writes.
    pub metrics: &'a Metrics,
    /// Its namespace.
    pub namespace: &'a str,
    /// The label of its objects, and the value.
    pub label: (&'static str, &'a str),
}

impl Applier<'_> {
    /// Applies one planned object.
    pub async fn apply(&self, planned: &PlannedObject) -> Result<Applied, ApplyError> {
        let desired = &planned.object;
        let name = describe(desired);
        let cache = desired.types.as_ref().and_then(|types| self.objects.of(types));
        let cache = cache.ok_or_else(|| ApplyError::UnknownKind(name.clone()))?;
        let api = Api::namespaced_with(self.client.clone(), self.namespace, cache.kind());
        let json_error = |error| ApplyError::Json(name.clone(), error);

        let fingerprint = diff::fingerprint(desired).map_err(json_error)?;
        let mut wanted = desired.clone();
        wanted.annotations_mut().insert(APPLIED_ANNOTATION.to_owned(), fingerprint.clone());

        let Some(live) = cache.get(self.namespace, &desired.name_any()) else {
            let unseen = api.get_opt(&desired.name_any()).await.map_err(|error| api_error(&name, "read", error))?;
            return match unseen {
                None if planned.replaces.is_some() => Err(ApplyError::Stale(name)),
                None => self.write(&api, cache, &wanted).await.map(|()| Applied::Written),
                Some(live) if self.ownership(&live, desired) == Ownership::Foreign => Ok(Applied::NameTaken),
                Some(live) => self.restore(&api, cache, &live, desired).await,
            };
        };
        match self.ownership(&live, desired) {
            Ownership::Foreign => return Ok(Applied::NameTaken),
            // The object was not in the store when the plan was made.
            Ownership::Ours if !self.is_labelled(&live) => return self.restore(&api, cache, &live, desired).await,
            Ownership::Adoptable | Ownership::Ours => {}
        }
        let same_plan = live.annotations().get(APPLIED_ANNOTATION) == Some(&fingerprint);
        let live_json = serde_json::to_value(&*live).map_err(json_error)?;
        // An object from a list has no kind.
        let wanted_json = serde_json::to_value(DynamicObject { types: None, ..wanted.clone() }).map_err(json_error)?;
        if same_plan && diff::covers(&live_json, &wanted_json) {
            return Ok(Applied::Unchanged);
        }
        if planned.generated && planned.replaces.is_none() {
            return Err(ApplyError::Stale(name));
        }
        wanted.metadata.resource_version.clone_from(&planned.replaces);
        match self.write(&api, cache, &wanted).await {
            Err(refused) if refused.is_invalid() => {
                let Some(mut lists) = diff::uncovered_lists(&live_json, &wanted_json) else { return Err(refused) };
                lists["metadata"]["resourceVersion"] = json!(live.metadata.resource_version);
                self.patch(&api, cache, desired, &merge_params(), &Patch::Merge(&lists)).await?;
                wanted.metadata.resource_version = None;
                self.write(&api, cache, &wanted).await?;
            }
            written => written?,
        }
        Ok(if same_plan { Applied::Repaired } else { Applied::Written })
    }

    /// Transfers objects of an earlier owner of the same name, as after a restore from a backup, to the current owner. Must
    /// precede the plan, which would treat their names as taken. Returns whether there were any.
    pub async fn adopt(&self, owners: &[OwnerReference]) -> Result<bool, ApplyError> {
        let mut adopted = false;
        for cache in self.objects.kinds() {
            for live in cache.labelled(self.namespace, self.label).into_iter().filter(|live| is_managed(live)) {
                let Some(former) = controller(&live) else { continue };
                let today = owners.iter().find(|owner| {
                    (&owner.api_version, &owner.kind, &owner.name) == (&former.api_version, &former.kind, &former.name)
                });
                let Some(today) = today.filter(|today| today.uid != former.uid) else { continue };
                let api = Api::namespaced_with(self.client.clone(), self.namespace, cache.kind());
                let patch = json!({"metadata": {
                    "resourceVersion": live.metadata.resource_version,
                    "ownerReferences": [today],
                }});
                self.patch(&api, cache, &live, &merge_params(), &Patch::Merge(&patch)).await?;
                adopted = true;
            }
        }
        Ok(adopted)
    }

    /// Deletes objects of earlier plans for these owners that are not in this plan. Returns kinds and names.
    pub async fn delete_orphans(
        &self,
        planned: &[PlannedObject],
        owners: &BTreeSet<&str>,
    ) -> Result<Vec<String>, ApplyError> {
        let mut deleted = Vec::new();
        for cache in self.objects.kinds() {
            let is_planned = |live: &DynamicObject| {
                planned.iter().any(|planned| {
                    let types = planned.object.types.as_ref();
                    types.is_some_and(|types| types.kind == cache.kind().kind)
                        && planned.object.metadata.name == live.metadata.name
                })
            };
            let orphans = cache.labelled(self.namespace, self.label).into_iter().filter(|live| {
                is_managed(live)
                    && controller(live).is_some_and(|owner| owners.contains(owner.uid.as_str()))
                    && live.metadata.deletion_timestamp.is_none()
                    && !is_planned(live)
            });
            for orphan in orphans {
                let name = format!("{} {:?}", cache.kind().kind, orphan.name_any());
                let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.namespace, cache.kind());
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid: orphan.uid(), resource_version: None }),
                    ..DeleteParams::background()
                };
                match api.delete(&orphan.name_any(), &params).await {
                    Ok(_) => {
                        self.metrics.wrote(&cache.kind().kind, Verb::Delete);
                        deleted.push(name);
                    }
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(api_error(&name, "deleted", error)),
                }
            }
        }
        Ok(deleted)
    }

    fn ownership(&self, live: &DynamicObject, desired: &DynamicObject) -> Ownership {
        let Some(planned) = controller(desired) else { return Ownership::Foreign };
        if live.owner_references().iter().any(|owner| owner.uid == planned.uid) {
            return Ownership::Ours;
        }
        let adoptable = is_managed(live) && self.is_labelled(live) && controller(live).is_none();
        if adoptable { Ownership::Adoptable } else { Ownership::Foreign }
    }

    /// Corrects only wrong labels and owner references, so that the next plan sees the object with its content.
    async fn restore(
        &self,
        api: &Api<DynamicObject>,
        cache: &Cache<DynamicObject>,
        live: &DynamicObject,
        desired: &DynamicObject,
    ) -> Result<Applied, ApplyError> {
        if self.is_labelled(live) && self.ownership(live, desired) == Ownership::Ours {
            cache.learn(live.clone());
        } else {
            let patch = json!({"metadata": {
                "resourceVersion": live.metadata.resource_version,
                "labels": desired.metadata.labels,
                "ownerReferences": desired.metadata.owner_references,
            }});
            self.patch(api, cache, desired, &merge_params(), &Patch::Merge(&patch)).await?;
        }
        Err(ApplyError::Stale(describe(desired)))
    }

    fn is_labelled(&self, live: &DynamicObject) -> bool {
        live.labels().get(self.label.0).is_some_and(|label| label == self.label.1)
    }

    async fn write(
        &self,
        api: &Api<DynamicObject>,
        cache: &Cache<DynamicObject>,
        wanted: &DynamicObject,
    ) -> Result<(), ApplyError> {
        let patch = serde_json::to_value(wanted).map_err(|error| ApplyError::Json(describe(wanted), error))?;
        self.patch(api, cache, wanted, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await
    }

    async fn patch(
        &self,
        api: &Api<DynamicObject>,
        cache: &Cache<DynamicObject>,
        object: &DynamicObject,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<(), ApplyError> {
        match api.patch(&object.name_any(), params, patch).await {
            Ok(written) => {
                self.metrics.wrote(&cache.kind().kind, Verb::Apply);
                cache.learn(written);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => Err(ApplyError::Stale(describe(object))),
            Err(error) => Err(api_error(&describe(object), "written", error)),
        }
    }
}

fn merge_params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn is_managed(live: &DynamicObject) -> bool {
    live.labels().get(MANAGED_BY_LABEL).is_some_and(|label| label == MANAGED_BY)
}

fn controller(object: &DynamicObject) -> Option<&OwnerReference> {
    object.owner_references().iter().find(|owner| owner.controller == Some(true))
}

/// Kind and name, for people.
#[must_use]
pub fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str());
    format!("{kind} {:?}", object.name_any())
}

fn api_error(object: &str, what: &'static str, source: kube::Error) -> ApplyError {
    ApplyError::Api { object: object.to_owned(), what, source: Box::new(source) }
}
