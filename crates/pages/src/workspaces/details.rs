//! `GET /console/workspaces/{workspace}`: one workspace, its resource usage if it runs, and the end of its log.

use crate::{
    Pages,
    error_page::ErrorPage,
    navigation::NavigationPage,
    page, paths, text,
    user_session::UserSession,
    workspaces::{
        error::failed,
        view::{self, LogView, PagePart, UsageLine},
    },
};
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portcullis_agent::protocol::{Amount, Usage};
use portcullis_core::{report::chain, terminal};
use portcullis_telemetry::audit::RequestContext;
use portcullis_workspaces::{Error, Purpose, Status, Workspace, WorkspaceLogs, check_name};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the page waits for the workspace agent, and for the log.
const USAGE_TIMEOUT: Duration = Duration::from_secs(2);
const LOG_TIMEOUT: Duration = Duration::from_secs(4);
/// How many lines of the log are shown.
const LOG_LINES: u32 = 200;
/// Longer lines are cut, in characters.
const MAX_LINE: usize = 500;
/// The maximum size of the shown log, in bytes: a page is in memory until a slow browser has read it.
const MAX_LOG: usize = 64 << 10;
/// How often the browser reloads the page of a workspace that starts or stops, in seconds.
const RELOAD_AFTER: HeaderValue = HeaderValue::from_static("4");

/// See the module.
pub(super) async fn get(
    State(pages): State<Arc<Pages>>,
    Extension(from): Extension<RequestContext>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Response {
    pages.answer(&from, show(&pages, &workspace, &headers).await)
}

async fn show(pages: &Pages, wanted: &str, headers: &HeaderMap) -> Result<Response, ErrorPage> {
    let now = pages.clock.now();
    let Some(user) = pages.user_session(headers, now) else {
        let below = check_name(wanted).is_ok().then(|| format!("{}/{wanted}", paths::WORKSPACES));
        return pages.sign_in_for(below.as_deref().unwrap_or(paths::WORKSPACES), now);
    };
    let backend = pages.workspaces_for("get_workspace")?;
    let found = backend.get(&user.owner(), wanted).await.map_err(|error| failed(pages.base(), error))?;
    let (usage, log) = tokio::join!(usage(pages, &user, &found), log(pages, &user, &found));
    let mut response = page(
        StatusCode::OK,
        &view::WorkspaceDetails {
            frame: &pages.frame,
            navigation: pages.navigation_below(&user, NavigationPage::Workspaces)?,
            workspace: view::WorkspaceCard::new(&found, &user, now),
            parameters: found.parameters.into_iter().collect(),
            home: found.home,
            usage,
            log,
            forms: pages.workspace_forms(&user)?,
        },
    )?;
    if matches!(found.status, Status::Starting | Status::Stopping) {
        response.headers_mut().insert(header::REFRESH, RELOAD_AFTER);
    }
    Ok(response)
}

/// What the workspace uses. `None`: it does not run, or the endpoint does not serve this.
async fn usage(pages: &Pages, user: &UserSession, workspace: &Workspace) -> Option<PagePart<Vec<UsageLine>>> {
    let backend = pages.workspaces_for("workspace_usage").ok().filter(|_| workspace.status == Status::Running)?;
    let owner = user.owner();
    let read = async {
        let agent = backend.agent(&owner, &workspace.id, Purpose::Look).await?;
        agent.usage().await.map_err(Error::agent(&workspace.name))
    };
    Some(match timeout(USAGE_TIMEOUT, read).await {
        Ok(Ok(usage)) => PagePart::Shown(usage_lines(&usage)),
        Ok(Err(error)) => {
            tracing::info!(workspace = workspace.id, error = chain(&error), "a page is shown without resource usage");
            PagePart::Missing("It cannot be read at the moment.".to_owned())
        }
        Err(_) => PagePart::Missing("The workspace did not answer in time.".to_owned()),
    })
}

fn usage_lines(usage: &Usage) -> Vec<UsageLine> {
    let line = |resource, amount: Amount, number: fn(f64) -> String| {
        let (used, limit) = (amount.used.map(number), amount.limit.map(number));
        let amount = match (used, limit) {
            (Some(used), Some(limit)) => format!("{used} of {limit}"),
            (Some(used), None) => used,
            (None, Some(limit)) => format!("not measured; at most {limit}"),
            (None, None) => "not measured".to_owned(),
        };
        UsageLine { resource, amount }
    };
    vec![
        line("CPU", usage.cpu, text::cores),
        line("Memory", usage.memory, text::bytes),
        line("Disk", usage.disk, text::bytes),
    ]
}

/// The end of the log. `None`: the endpoint does not serve it.
async fn log(pages: &Pages, user: &UserSession, workspace: &Workspace) -> Option<PagePart<LogView>> {
    let backend = pages.workspaces_for("workspace_logs").ok()?;
    let owner = user.owner();
    let read = async {
        // Never closed.
        let _permit = pages.log_reads.acquire().await.ok();
        backend.logs(&owner, &workspace.id, LOG_LINES).await.map(shown_log)
    };
    Some(match timeout(LOG_TIMEOUT, read).await {
        Ok(Ok(log)) => PagePart::Shown(log),
        // It never ran, or its pod is gone.
        Ok(Err(Error::NotRunning { .. } | Error::Stopped { .. })) => {
            PagePart::Missing("There is no log while it does not run.".to_owned())
        }
        Ok(Err(error)) => {
            tracing::info!(workspace = workspace.id, error = chain(&error), "a page is shown without a log");
            PagePart::Missing("It cannot be read at the moment.".to_owned())
        }
        Err(_) => PagePart::Missing("It could not be read in time.".to_owned()),
    })
}

/// The end of the log that is shown.
fn shown_log(log: WorkspaceLogs) -> LogView {
    let (all, mut size) = (log.lines.len(), 0);
    let mut lines: Vec<String> = log
        .lines
        .into_iter()
        .rev()
        .map(shown_line)
        .take_while(|line| {
            size += line.len() + 1;
            size <= MAX_LOG
        })
        .collect();
    lines.reverse();
    LogView { truncated: log.truncated || lines.len() < all, lines }
}

/// A line without control sequences, and not too long.
fn shown_line(mut line: String) -> String {
    terminal::plain(&mut line);
    if let Some((end, _)) = line.char_indices().nth(MAX_LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_shown_in_units_of_people() {
        let amount = |used, limit| Amount { used, limit };
        let usage = Usage {
            cpu: amount(Some(0.25), Some(2.0)),
            memory: amount(Some(1_610_612_736.0), Some(4_294_967_296.0)),
            disk: amount(None, Some(10_737_418_240.0)),
        };
        let lines = usage_lines(&usage);
        let amounts: Vec<&str> = lines.iter().map(|line| &*line.amount).collect();
        assert_eq!(amounts, ["0.25 cores of 2 cores", "1.5 GiB of 4 GiB", "not measured; at most 10 GiB"]);
        let unknown = usage_lines(&Usage::default());
        assert!(unknown.iter().all(|line| line.amount == "not measured"), "{unknown:?}");
    }

    #[test]
    fn lines_are_plain_and_bounded() {
        assert_eq!(shown_line("\u{1b}[31mred\u{1b}[0m".to_owned()), "red");
        assert_eq!(shown_line("é".repeat(MAX_LINE)), "é".repeat(MAX_LINE));
        assert_eq!(shown_line("é".repeat(5000)), format!("{}…", "é".repeat(MAX_LINE)));
        let log = |lines: usize| WorkspaceLogs { lines: vec!["é".repeat(5000); lines], truncated: false };
        let (few, many) = (shown_log(log(3)), shown_log(log(200)));
        assert!(!few.truncated && few.lines.len() == 3);
        assert!(many.truncated && many.lines.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_LOG);
    }
}
