//! The paths that the server of an endpoint serves in addition to the endpoint's own: the single table for admission,
//! routing, metadata and the paths of an Ingress or HTTPRoute. All except the well-known ones follow the issuer's path
//! (RFC 8414).

use crate::PublicUrl;

/// The authorization endpoint (RFC 6749 §3.1), which browsers open.
pub const AUTHORIZE: &str = "/authorize";
/// The form target of the consent page.
pub const CONSENT: &str = "/consent";
/// The token endpoint (RFC 6749 §3.2).
pub const TOKEN: &str = "/token";
/// The registration endpoint (RFC 7591).
pub const REGISTER: &str = "/register";
/// The revocation endpoint (RFC 7009).
pub const REVOKE: &str = "/revoke";
/// The introspection endpoint (RFC 7662).
pub const INTROSPECT: &str = "/introspect";
/// The sign-in page. The paths of providers are below it.
pub const LOGIN: &str = "/login";
/// The sign-out page.
pub const LOGOUT: &str = "/logout";
/// The page of the clients that a user has connected. The paths that revoke them are below it.
pub const AGENTS: &str = "/agents";
/// The landing page. Not in [`RESERVED`]: an endpoint whose own URL is here has no landing page, see [`has_console`].
pub const CONSOLE: &str = "/console";
/// The page of the user's workspaces. The pages of single workspaces are below it.
pub const WORKSPACES: &str = "/console/workspaces";
/// The page of all users, for administrators. The other pages of administration are below it.
pub const ADMINISTRATION: &str = "/console/administration";
/// The icon that browsers ask for at the root of a host. Not in [`RESERVED`]: see [`has_favicon`].
pub const FAVICON: &str = "/favicon.ico";
/// The prefix of style sheet and icon.
pub const ASSETS: &str = "/assets";
/// The JWK set of the public keys (RFC 7517).
pub const JWKS: &str = "/jwks.json";
/// The prefix of well-known URIs (RFC 8615), which are metadata documents here.
pub const WELL_KNOWN: &str = "/.well-known";
/// The path of the metadata of a resource without a path (RFC 9728). Some clients try only this one.
pub const ROOT_RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// The catalog of the host, which refers to the endpoint's server card (SEP-2127). Only for an issuer without a path.
pub const AI_CATALOG: &str = "/.well-known/ai-catalog.json";

/// A path, relative to the issuer's path, that an endpoint cannot have as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedPath {
    /// The path, such as `/token`.
    pub path: &'static str,
    /// Whether the paths below it are reserved too.
    pub below: bool,
}

/// Every reserved path.
pub const RESERVED: [ReservedPath; 11] = [
    ReservedPath::exact(AUTHORIZE),
    ReservedPath::exact(CONSENT),
    ReservedPath::exact(TOKEN),
    ReservedPath::exact(REGISTER),
    ReservedPath::exact(REVOKE),
    ReservedPath::exact(INTROSPECT),
    ReservedPath::with_below(LOGIN),
    ReservedPath::exact(LOGOUT),
    ReservedPath::with_below(AGENTS),
    ReservedPath::with_below(ASSETS),
    ReservedPath::exact(JWKS),
];

impl ReservedPath {
    const fn exact(path: &'static str) -> Self {
        Self { path, below: false }
    }

    const fn with_below(path: &'static str) -> Self {
        Self { path, below: true }
    }

    /// The path without its slash, such as `token`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.trim_start_matches('/')
    }

    /// Whether `path` is this path, or a path below it if those are reserved.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || (self.below && rest.starts_with('/')))
    }
}

/// Whether an endpoint at `url`, with further `aliases` of its path, has the pages of [`CONSOLE`]. It has none if its own
/// paths are the same ones.
#[must_use]
pub fn has_console(url: &PublicUrl, aliases: &[String]) -> bool {
    let console = ReservedPath::with_below(CONSOLE);
    let covered = |path: &str| path.strip_prefix(url.base_path()).is_some_and(|rest| console.covers(rest));
    !covered(url.path()) && !aliases.iter().any(|alias| covered(alias))
}

/// Whether an endpoint at `url`, with further `aliases` of its path, serves [`FAVICON`]: it has a console, and its issuer
/// has no path.
#[must_use]
pub fn has_favicon(url: &PublicUrl, aliases: &[String]) -> bool {
    let free = url.path() != FAVICON && !aliases.iter().any(|alias| alias == FAVICON);
    url.base_path().is_empty() && free && has_console(url, aliases)
}

/// Whether `path`, relative to the issuer's path, is reserved.
#[must_use]
pub fn is_reserved(path: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.covers(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_at_the_path_of_the_console_has_none() {
        for (url, aliases, has) in [
            ("https://h/mcp", &[][..], true),
            ("https://h/console", &[], false),
            ("https://h/team/console", &[], false),
            ("https://h/consoles", &[], true),
            // The issuer has the path /console, and the pages are below it.
            ("https://h/console/mcp", &[], true),
            ("https://h/mcp", &["/console/mcp"], false),
            ("https://h/team/mcp", &["/console"], true),
        ] {
            let aliases: Vec<String> = aliases.iter().map(|&alias: &&str| alias.to_owned()).collect();
            assert_eq!(has_console(&url.parse().unwrap(), &aliases), has, "{url} {aliases:?}");
        }
    }

    #[test]
    fn only_an_endpoint_at_the_root_of_its_host_has_the_icon_there() {
        for (url, aliases, has) in [
            ("https://h/mcp", &[][..], true),
            ("https://h/team/mcp", &[], false),
            ("https://h/console", &[], false),
            ("https://h/favicon.ico", &[], false),
            ("https://h/mcp", &["/favicon.ico"], false),
        ] {
            let aliases: Vec<String> = aliases.iter().map(|&alias: &&str| alias.to_owned()).collect();
            assert_eq!(has_favicon(&url.parse().unwrap(), &aliases), has, "{url} {aliases:?}");
        }
    }

    #[test]
    fn only_some_paths_are_reserved_with_those_below() {
        for (path, reserved) in [
            ("/token", true),
            ("/token/", false),
            ("/tokens", false),
            ("/jwks.json", true),
            ("/login", true),
            ("/login/github/callback", true),
            ("/loginx", false),
            ("/mcp", false),
            ("", false),
        ] {
            assert_eq!(is_reserved(path), reserved, "{path:?}");
        }
    }
}
