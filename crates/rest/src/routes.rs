//! The routes: the methods and paths, below the endpoint's URL, and the tools that they call.

use Source::{Body, Query};
use Verb::{Delete, Get, Patch, Post, Put};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

/// The route of one tool.
#[derive(Debug)]
pub(super) struct RestRoute {
    pub method: Verb,
    /// A path whose `{name}` segments are arguments of that name.
    pub path: &'static str,
    /// The tool's name.
    pub tool: &'static str,
    /// The source of its other arguments.
    pub rest: Source,
    /// The status of a success.
    pub success: StatusCode,
    /// Whether the call may wait for a command for a long time.
    pub waits: bool,
}

/// The source of the arguments that are not in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The query of the URL.
    Query,
    /// A JSON object in the body.
    Body,
}

/// The methods of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// The HTTP methods that the verb includes: GET includes HEAD (RFC 9110 §9.3.2).
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
            Self::Put => &["PUT"],
            Self::Patch => &["PATCH"],
            Self::Delete => &["DELETE"],
        }
    }

    pub(crate) fn answers(self, method: &Method) -> bool {
        self.names().contains(&method.as_str())
    }
}

impl RestRoute {
    pub(crate) fn takes_body(&self) -> bool {
        self.rest == Source::Body
    }

    /// The arguments in its path.
    pub(crate) fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(argument)
    }
}

const fn route(method: Verb, path: &'static str, tool: &'static str, rest: Source) -> RestRoute {
    RestRoute { method, path, tool, rest, success: StatusCode::OK, waits: false }
}

/// All routes, in the order of the documentation.
pub(super) static ROUTES: [RestRoute; 26] = [
    route(Get, "/workspaces", "list_workspaces", Query),
    RestRoute { success: StatusCode::CREATED, ..route(Post, "/workspaces", "create_workspace", Body) },
    route(Get, "/workspaces/{workspace}", "get_workspace", Query),
    route(Delete, "/workspaces/{workspace}", "delete_workspace", Query),
    route(Post, "/workspaces/{workspace}/start", "start_workspace", Body),
    route(Post, "/workspaces/{workspace}/stop", "stop_workspace", Body),
    route(Post, "/workspaces/{workspace}/restart", "restart_workspace", Body),
    route(Get, "/workspaces/{workspace}/usage", "workspace_usage", Query),
    route(Get, "/workspaces/{workspace}/logs", "workspace_logs", Query),
    RestRoute { waits: true, ..route(Post, "/workspaces/{workspace}/execute", "run_command", Body) },
    route(Get, "/workspaces/{workspace}/processes", "list_processes", Query),
    RestRoute {
        waits: true,
        ..route(Get, "/workspaces/{workspace}/processes/{process_id}/output", "process_output", Query)
    },
    route(Post, "/workspaces/{workspace}/processes/{process_id}/input", "send_input", Body),
    route(Delete, "/workspaces/{workspace}/processes/{process_id}", "stop_process", Query),
    route(Get, "/workspaces/{workspace}/files", "list_files", Query),
    route(Delete, "/workspaces/{workspace}/files", "remove_path", Query),
    route(Get, "/workspaces/{workspace}/files/content", "read_file", Query),
    route(Put, "/workspaces/{workspace}/files/content", "write_file", Body),
    route(Patch, "/workspaces/{workspace}/files/content", "edit_file", Body),
    route(Post, "/workspaces/{workspace}/files/search", "search_files", Body),
    route(Post, "/workspaces/{workspace}/files/move", "move_path", Body),
    route(Get, "/templates", "list_templates", Query),
    route(Get, "/templates/{template}", "get_template", Query),
    route(Get, "/search", "search", Query),
    route(Get, "/fetch", "fetch", Query),
    route(Get, "/whoami", "whoami", Query),
];

fn argument(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The arguments in `path` according to `template`; `None` if the path does not match. Each segment is decoded
/// separately (RFC 3986 §2.1), so a `%2F` stays within its segment.
pub(super) fn capture(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut captured = Vec::new();
    let mut segments = path.split('/');
    for wanted in template.split('/') {
        let segment = percent_decode_str(segments.next()?).decode_utf8().ok()?;
        match argument(wanted) {
            Some(name) if !segment.is_empty() => captured.push((name, segment.into_owned())),
            None if segment == wanted => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(captured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let template = "/workspaces/{workspace}/processes/{process_id}";
        for (path, captured) in [
            ("/workspaces/web/processes/7", Some(["web", "7"])),
            ("/workspaces/a%2Fb/processes/%C3%A9", Some(["a/b", "é"])),
            ("/workspaces/../processes/7", Some(["..", "7"])),
            ("/workspaces/web/processes/7/", None),
            ("/workspaces/web/processes/", None),
            ("/workspaces/web/processes", None),
            ("/workspaces//processes/7", None),
            ("/workspaces/%ff/processes/7", None),
            ("//workspaces/web/processes/7", None),
            ("/Workspaces/web/processes/7", None),
            ("", None),
        ] {
            let names = ["workspace", "process_id"];
            let expected = captured.map(|values| names.into_iter().zip(values.map(str::to_owned)).collect::<Vec<_>>());
            assert_eq!(capture(template, path), expected, "{path}");
        }
        assert_eq!(capture("/whoami", "/whoami"), Some(Vec::new()));
    }

    #[test]
    fn each_method_and_path_is_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for route in &ROUTES {
            assert!(seen.insert((route.method.names(), route.path)), "{route:?}");
        }
    }
}
