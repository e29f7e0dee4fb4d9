//! `GET /console/workspaces/{workspace}/activity`: what clients ran and changed in a workspace, the newest first.
//!
//! The page shows the journal of the workspace agent, and only to the owner: command lines may have secrets. Processes of
//! the workspace can forge the journal, so its texts are sanitized, and clients are named only if the user has connected
//! them.

use crate::{
    Pages, agents,
    error_page::ErrorPage,
    forms::Query,
    navigation::NavigationPage,
    page, paths,
    user_session::UserSession,
    workspaces::{
        activity_view::{ActivityEntry, ClientFilter, ClientNames, WorkspaceActivity},
        error::failed,
        view::{PagePart, WorkspaceCard},
    },
};
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use portcullis_agent::{
    AgentError,
    protocol::{Actor, JournalEntry, JournalPage, JournalRequest, Operation, UNKNOWN_ROUTE},
};
use portcullis_core::report::chain;
use portcullis_telemetry::audit::RequestContext;
use portcullis_workspaces::{Error, Purpose, Workspace, Workspaces, check_name};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;
use url::form_urlencoded;

/// How long the page waits for the workspace agent.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How many entries a page has.
const PAGE_SIZE: u32 = 25;
/// How many clients the page can be filtered by.
const MAX_CLIENTS: usize = 20;
/// Longer texts are cut, in bytes. Those of a workspace agent are shorter.
const MAX_TEXT: usize = 2048;

/// See the module.
pub(super) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    Query(query): Query,
    headers: HeaderMap,
) -> Response {
    let request = JournalRequest {
        limit: Some(PAGE_SIZE),
        before: query.field("before").and_then(|before| before.parse().ok()),
        client_id: query.field("client").map(ToOwned::to_owned),
    };
    pages.answer(&from, show(&pages, &workspace, &request, &headers).await)
}

async fn show(
    pages: &Pages,
    wanted: &str,
    request: &JournalRequest,
    headers: &HeaderMap,
) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        let below = check_name(wanted).is_ok().then(|| format!("{}/{wanted}/activity", paths::WORKSPACES));
        return pages.sign_in_for(below.as_deref().unwrap_or(paths::WORKSPACES), now);
    };
    let backend = pages.workspaces_for("get_workspace")?;
    let found = backend.get(&user.owner(), wanted).await.map_err(|error| failed(pages.base(), error))?;
    let journal = read(pages, &**backend, &user, &found, request).await.map_err(|error| failed(pages.base(), error))?;
    let path = format!("{}{}/{}/activity", pages.base(), paths::WORKSPACES, found.id);
    let link = |client: Option<&str>, before: Option<u64>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(client.map(|client| ("client", client)));
        query.extend_pairs(before.map(|before| ("before", before.to_string())));
        format!("{path}?{}", query.finish()).trim_end_matches('?').to_owned()
    };
    let client = request.client_id.as_deref();
    let (mut filters, mut older) = (Vec::new(), None);
    let entries = match journal {
        PagePart::Missing(why) => PagePart::Missing(why),
        PagePart::Shown(journal) => {
            let names = client_names(pages, &user, &journal, now).await;
            if journal.clients.len() > 1 || client.is_some() {
                filters.push(ClientFilter::new("All agents".to_owned(), link(None, None), client.is_none()));
                filters.extend(journal.clients.iter().map(|id| {
                    ClientFilter::new(names.name(id), link(Some(id.as_str()), None), client == Some(id.as_str()))
                }));
            }
            older = journal.next_before.map(|before| link(client, Some(before)));
            let entries = journal.entries.iter();
            PagePart::Shown(entries.map(|entry| ActivityEntry::new(entry, &user.user.id, &names, now)).collect())
        }
    };
    page(
        StatusCode::OK,
        &WorkspaceActivity {
            frame: &pages.frame,
            navigation: pages.navigation_below(&user, NavigationPage::Workspaces)?,
            workspace: WorkspaceCard::new(&found, &user, now),
            filters,
            entries,
            newest: request.before.map(|_| link(client, None)),
            older,
        },
    )
}

/// The journal, or why the page is shown without it.
async fn read(
    pages: &Pages,
    backend: &dyn Workspaces,
    user: &UserSession,
    workspace: &Workspace,
    request: &JournalRequest,
) -> Result<PagePart<JournalPage>, Error> {
    let owner = user.owner();
    let read = async {
        // Never closed.
        let _permit = pages.log_reads.acquire().await.ok();
        let agent = backend.agent(&owner, &workspace.id, Purpose::Journal).await?;
        Ok::<_, Error>(agent.journal(request).await.map(bounded))
    };
    match timeout(TIMEOUT, read).await {
        Ok(read) => part(read, &workspace.id),
        Err(_) => Ok(PagePart::Missing("The workspace did not answer in time.".to_owned())),
    }
}

/// The journal without what a workspace agent never sends: its memory is used until a slow browser has read the page.
fn bounded(mut journal: JournalPage) -> JournalPage {
    journal.entries.truncate(PAGE_SIZE as usize);
    journal.entries.shrink_to_fit();
    journal.clients.truncate(MAX_CLIENTS);
    let entries = journal.entries.iter_mut().flat_map(|JournalEntry { operation, actor, .. }| {
        let actor =
            actor.iter_mut().flat_map(|Actor { client_id, user, grant }| [Some(client_id), Some(user), grant.as_mut()]);
        let Operation { command, path, to, .. } = operation;
        [command.as_mut(), path.as_mut(), to.as_mut()].into_iter().chain(actor).flatten()
    });
    for text in entries.chain(&mut journal.clients) {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.shrink_to_fit();
    }
    journal
}

/// The part of the page for the answer of the workspace agent.
fn part(read: Result<Result<JournalPage, AgentError>, Error>, workspace: &str) -> Result<PagePart<JournalPage>, Error> {
    let missing = |why: &str| Ok(PagePart::Missing(why.to_owned()));
    let unreadable = |error: String| {
        tracing::info!(workspace, error, "a page is shown without the activity in a workspace");
        missing("It cannot be read at the moment.")
    };
    match read {
        Ok(Ok(journal)) => Ok(PagePart::Shown(journal)),
        Ok(Err(AgentError::Failed(failure))) if failure.message == UNKNOWN_ROUTE => missing(
            "This workspace was started by an earlier version of Portcullis, which does not record activity. Restart the \
             workspace to record it from then on.",
        ),
        Ok(Err(error)) => unreadable(chain(&error)),
        Err(Error::NotRunning { .. } | Error::Stopped { .. }) => {
            missing("The record is in the workspace, and can be read only while the workspace runs.")
        }
        Err(error @ (Error::NotPermitted { .. } | Error::UnknownWorkspace { .. })) => Err(error),
        Err(error) => unreadable(chain(&error)),
    }
}

/// The names of the clients on the page. A client that the user has not connected keeps its id.
async fn client_names(pages: &Pages, user: &UserSession, journal: &JournalPage, now: Timestamp) -> ClientNames {
    let grants = pages.server.grants().of_user(&user.user.id);
    let connected: BTreeSet<&str> = grants.iter().map(|grant| &*grant.client_id).collect();
    let recorded = journal.clients.iter().map(|client| &**client).filter(|client| connected.contains(client));
    ClientNames::new(agents::clients(pages, recorded.collect(), now).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_agent::{
        Lost,
        protocol::{Failure, FailureKind, Outcome},
    };

    #[test]
    fn a_journal_that_no_agent_sends_is_cut() {
        let long = || "é".repeat(100_000);
        let operation =
            Operation { command: Some(long()), path: Some(long()), to: Some(long()), ..Operation::default() };
        let entry = JournalEntry {
            id: 1,
            at: Timestamp::UNIX_EPOCH,
            actor: Some(Actor { client_id: long(), user: long(), grant: Some(long()) }),
            operation,
            outcome: Outcome::Done,
            exit_code: None,
            failure: None,
            duration_ms: 0,
        };
        let journal = JournalPage { entries: vec![entry; 100], next_before: None, clients: vec![long(); 100] };
        let size = serde_json::to_string(&bounded(journal)).unwrap().len();
        assert!(size < 400_000, "{size}");
    }

    #[test]
    fn a_page_without_a_journal_says_why() {
        let failed = |message: &str| {
            Ok(Err(AgentError::Failed(Failure { kind: FailureKind::NotFound, message: message.to_owned() })))
        };
        let lost = Lost { why: "the connection broke".to_owned(), maybe_done: false };
        for (read, why) in [
            (failed(UNKNOWN_ROUTE), "Restart the workspace"),
            (failed("broken"), "cannot be read at the moment"),
            (Ok(Err(AgentError::Lost(lost))), "cannot be read at the moment"),
            (Err(Error::Stopped { workspace: "web".to_owned() }), "only while the workspace runs"),
        ] {
            let Ok(PagePart::Missing(said)) = part(read, "ws-1") else { panic!("{why}") };
            assert!(said.contains(why), "{said}");
        }
        let (workspace, owner) = ("web".to_owned(), "ann".to_owned());
        let refused = part(Err(Error::NotPermitted { workspace, owner, verb: "see the activity in" }), "ws-1");
        assert!(matches!(refused, Err(Error::NotPermitted { .. })));
        assert!(matches!(part(Ok(Ok(JournalPage::default())), "ws-1"), Ok(PagePart::Shown(_))));
    }
}
