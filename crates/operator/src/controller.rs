//! One term as the leader: the watches fill the [`Stores`] and enqueue keys, which are reconciled concurrently.

use crate::{
    Settings, collector,
    context::{Context, Reports},
    definitions::Definitions,
    events::Events,
    metrics::Metrics,
    queue::Queue,
    reconcile,
    stores::{Stores, workspace_key},
    templates,
    watches::{ReconcileQueues, start_watches},
    workspaces,
};
use futures::{StreamExt as _, future};
use kube::{
    Client,
    runtime::controller::{self, Config, applier},
};
use portcullis_core::report::chain;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The maximum number of concurrent reconciles, for endpoints and for workspaces.
const CONCURRENCY: u16 = 16;
/// Changes of one object come in bursts.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// How often to check whether the cluster serves other optional kinds than at the start of the term.
const KINDS_CHECK: Duration = Duration::from_mins(5);
const RETRY: Duration = Duration::from_secs(2);

/// Reconciles until `end`; running reconciles then finish.
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    definitions: Arc<Definitions>,
    end: CancellationToken,
) {
    metrics.set_leader(true);
    while !end.is_cancelled() {
        // Without the operator's custom resource definitions, every watch would fail.
        if end.run_until_cancelled(definitions.served()).await.is_none() {
            break;
        }
        // If the served kinds change, rebuild the stores.
        if let Err(error) = reconcile_all(&client, &settings, &metrics, &definitions, &end).await {
            tracing::warn!(error = chain(&error), "the served kinds cannot be read from the API server; retrying");
            tokio::select! {
                () = end.cancelled() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
    metrics.set_leader(false);
}

async fn reconcile_all(
    client: &Client,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    definitions: &Arc<Definitions>,
    end: &CancellationToken,
) -> Result<(), kube::Error> {
    let served = definitions.state();
    let stores = Arc::new(Stores::new(client, settings).await?);
    let queues = ReconcileQueues { endpoints: Queue::default(), workspaces: Queue::default() };
    let (endpoint_keys, workspace_keys) = (queues.endpoints.clone(), queues.workspaces.clone());
    let mut tasks = JoinSet::new();
    start_watches(&stores, client, &settings.namespaces, &queues, &mut tasks);

    let events = Events::new(client.clone(), &settings.election.identity);
    let reports = Reports { metrics: Arc::clone(metrics), definitions: Arc::clone(definitions), events };
    let context = Arc::new(Context::new(client.clone(), Arc::clone(&stores), reports, settings));
    let manager = Arc::new(workspaces::Manager::new(Arc::clone(&context)));
    let counted = queues.endpoints.clone();
    tasks.spawn({
        let (context, manager) = (Arc::clone(&context), Arc::clone(&manager));
        async move {
            let wake_endpoint = |key| queues.endpoints.send(key);
            let wake_workspace = |key| queues.workspaces.send(key);
            let endpoints = context.requeues.run(&*context.clock, wake_endpoint);
            tokio::join!(endpoints, manager.requeues.run(&*context.clock, wake_workspace));
        }
    });

    let over = end.child_token();
    tokio::select! {
        () = over.cancelled() => return Ok(()),
        ready = stores.ready() => if ready.is_err() { return Ok(()) },
    }
    collector::count_first(&context);
    tasks.spawn(collector::run(Arc::clone(&context), counted));
    tasks.spawn(templates::run(Arc::clone(&context)));
    let config = || Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY);
    let reconciles = applier(
        |endpoint, context| Box::pin(reconcile::reconcile(endpoint, context)),
        reconcile::error_policy,
        Arc::clone(&context),
        stores.endpoints.store(),
        endpoint_keys.into_stream().take_until(over.clone().cancelled_owned()),
        config(),
    );
    let of_endpoints = reconciles.for_each_concurrent(None, |outcome| {
        let context = Arc::clone(&context);
        async move {
            if let Err(controller::Error::ObjectNotFound(gone)) = outcome {
                reconcile::endpoint_missing(&context, gone.namespace.as_deref().unwrap_or_default(), &gone.name).await;
            }
        }
    });
    let reconciles = applier(
        |workspace, manager| Box::pin(workspaces::reconcile(workspace, manager)),
        workspaces::error_policy,
        Arc::clone(&manager),
        stores.workspaces.all.store(),
        workspace_keys.into_stream().take_until(over.clone().cancelled_owned()),
        config(),
    );
    let of_workspaces = reconciles.for_each(|outcome| {
        if let Err(controller::Error::ObjectNotFound(gone)) = outcome {
            manager.forget(&workspace_key(gone.namespace.as_deref().unwrap_or_default(), &gone.name));
        }
        future::ready(())
    });
    let same_kinds = async {
        loop {
            tokio::time::sleep(KINDS_CHECK).await;
            if matches!(stores.is_current(client).await, Ok(false)) {
                tracing::info!("the cluster serves other optional kinds than before; starting over");
                over.cancel();
            }
        }
    };
    let same_definitions = async {
        definitions.changed_from(&served).await;
        tracing::info!("the custom resource definitions have changed; starting over");
        over.cancel();
        future::pending::<()>().await;
    };
    tokio::select! {
        _ = future::join(of_endpoints, of_workspaces) => {}
        () = same_kinds => {}
        () = same_definitions => {}
    }
    tasks.shutdown().await;
    Ok(())
}
