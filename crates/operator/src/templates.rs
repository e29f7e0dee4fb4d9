//! The statuses of `WorkspaceTemplate`s. A separate task: the status of a template depends only on the template.

use crate::{
    context::Context,
    status::{self, reason},
    stores::Guarded,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource as _, ResourceExt as _};
use portcullis_api::{WorkspaceTemplate, WorkspaceTemplateStatus, condition::READY};
use portcullis_core::report::chain;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// The shortest time between two passes: changes come in bursts, and a failed write is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the statuses current until the task is aborted. It is idle without changes.
pub(crate) async fn run(context: Arc<Context>) {
    // Generations, by uid, of templates that cannot be read, once their status says so.
    let mut unreadable = BTreeSet::new();
    loop {
        let now = context.clock.now();
        let mut complete = true;
        for template in context.stores.workspaces.templates.select(|_| true) {
            complete &= match &template.0 {
                Ok(valid) => report(&context, valid, now).await,
                Err(invalid) => report_unreadable(&context, &template, &invalid.error, &mut unreadable, now).await,
            };
        }
        tokio::time::sleep(PAUSE).await;
        if complete {
            context.stores.workspaces.templates_changed.notified().await;
        }
    }
}

/// Returns whether the status is written, or needs no write.
async fn report(context: &Context, template: &WorkspaceTemplate, now: Timestamp) -> bool {
    if template.metadata.deletion_timestamp.is_some() {
        return true;
    }
    let status = status::template_status(template, now);
    if template.status.as_ref() == Some(&status) {
        return true;
    }
    if !write(context, &template.namespace().unwrap_or_default(), &template.name_any(), &status).await {
        return false;
    }
    let before = template.status.iter().flat_map(|status| &status.conditions);
    let known = ready(before).is_some_and(|ready| ready.reason == reason::INVALID);
    if let Some(ready) = ready(&status.conditions).filter(|ready| ready.reason == reason::INVALID && !known) {
        context.events.warn(template, reason::INVALID, "Reconcile", ready.message.clone()).await;
    }
    true
}

fn ready<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Option<&'a Condition> {
    conditions.into_iter().find(|condition| condition.type_ == READY)
}

async fn report_unreadable(
    context: &Context,
    template: &Guarded<WorkspaceTemplate>,
    error: &str,
    reported: &mut BTreeSet<(String, i64)>,
    now: Timestamp,
) -> bool {
    let generation = template.meta().generation;
    let key = (template.uid().unwrap_or_default(), generation.unwrap_or_default());
    if reported.contains(&key) {
        return true;
    }
    let status = status::unreadable_template_status(error, generation, now);
    let written = write(context, &template.namespace().unwrap_or_default(), &template.name_any(), &status).await;
    if written {
        reported.insert(key);
    }
    written
}

async fn write(context: &Context, namespace: &str, name: &str, status: &WorkspaceTemplateStatus) -> bool {
    match context.write_status(&context.stores.workspaces.templates, namespace, name, status).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(namespace, template = name, error = chain(&error), "status not written; it is retried");
            false
        }
    }
}
