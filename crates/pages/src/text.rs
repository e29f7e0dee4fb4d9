//! The texts of the pages: scopes, times and destinations in plain words, and sanitized names.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::{Scope, names};
use url::{Host, Url};

/// Longer names are cut: a name must not push the rest of a page out of sight.
const MAX_NAME: usize = 80;

/// A scope in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeWords {
    /// What the agent may do.
    pub title: &'static str,
    /// What that means.
    pub detail: &'static str,
}

/// What a scope allows, said to the person who is asked for it.
pub(crate) const fn scope(scope: Scope) -> ScopeWords {
    let (title, detail) = match scope {
        Scope::WorkspacesRead => ("See your workspaces", "Their names, and whether they are running."),
        Scope::WorkspacesWrite => {
            ("Create, start, stop and delete your workspaces", "Deleting a workspace deletes the files in it.")
        }
        Scope::WorkspacesExec => (
            "Run commands in your workspaces",
            "Any command, with the files, network and credentials of the workspace.",
        ),
        Scope::FilesRead => ("Read the files in your workspaces", "All files, including secrets in them."),
        Scope::FilesWrite => ("Change and delete files in your workspaces", "Write, move and delete, without asking."),
        Scope::TemplatesRead => ("See the workspace templates", "The templates for new workspaces."),
    };
    ScopeWords { title, detail }
}

/// A name from outside, sanitized for display (see [`names`]). `otherwise` if nothing is left.
pub(crate) fn name(text: &str, otherwise: &str) -> String {
    let plain = names::plain(text, MAX_NAME);
    if plain.is_empty() { otherwise.to_owned() } else { plain }
}

/// Where a browser goes after consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The words before the location, if it is not a website.
    pub app: Option<&'static str>,
    /// The host, or the scheme of an app.
    pub location: String,
}

/// The destination of a redirect URI.
pub(crate) fn destination(redirect_uri: &str) -> Destination {
    let Ok(url) = Url::parse(redirect_uri) else {
        return Destination { app: None, location: redirect_uri.to_owned() };
    };
    let (scheme, host) = (url.scheme(), url.host());
    let loopback = match &host {
        Some(Host::Domain(name)) => *name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    match host {
        Some(host) if scheme == "https" || scheme == "http" => {
            Destination { app: loopback.then_some("an app on this computer,"), location: format!("{host}{port}") }
        }
        _ => Destination { app: Some("the app on this computer that opens"), location: format!("{scheme}:") },
    }
}

/// An instant, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct When {
    /// As in RFC 3339.
    pub machine: String,
    /// The day.
    pub date: String,
    /// How far away.
    pub relative: String,
}

impl When {
    /// `then`, as seen at `now`.
    pub(crate) fn new(then: Timestamp, now: Timestamp) -> Self {
        let distance = then.duration_since(now);
        let relative = match spoken(distance.abs()) {
            None => "just now".to_owned(),
            Some(span) if distance.is_negative() => format!("{span} ago"),
            Some(span) => format!("in {span}"),
        };
        Self { machine: then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), date: date(then), relative }
    }
}

/// A day, in UTC.
pub(crate) fn date(then: Timestamp) -> String {
    then.strftime("%-d %b %Y").to_string()
}

/// A message as a sentence: a capital letter first, a full stop last.
pub(crate) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if message.ends_with(['.', '!', '?', ':']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A length of time in its largest unit, rounded down. `None` under a minute.
pub(crate) fn spoken(span: SignedDuration) -> Option<String> {
    let units = [(24 * 60 * 60, "day"), (60 * 60, "hour"), (60, "minute")];
    units.into_iter().find_map(|(seconds, unit)| match span.as_secs() / seconds {
        0 => None,
        1 => Some(format!("1 {unit}")),
        count => Some(format!("{count} {unit}s")),
    })
}

/// A number of bytes in its largest binary unit.
pub(crate) fn bytes(count: f64) -> String {
    const UNITS: [(f64, &str); 4] = [
        (1024.0 * 1024.0 * 1024.0 * 1024.0, "TiB"),
        (1024.0 * 1024.0 * 1024.0, "GiB"),
        (1024.0 * 1024.0, "MiB"),
        (1024.0, "KiB"),
    ];
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{} {name}", rounded(count / unit)),
        None => format!("{} bytes", rounded(count)),
    }
}

/// A number of CPU cores.
pub(crate) fn cores(count: f64) -> String {
    let count = rounded(count);
    let unit = if count == "1" { "core" } else { "cores" };
    format!("{count} {unit}")
}

/// The number with at most two decimals, without trailing zeros.
fn rounded(number: f64) -> String {
    format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_said_in_their_largest_unit() {
        for (count, said) in [
            (0.0, "0 bytes"),
            (1023.0, "1023 bytes"),
            (1024.0, "1 KiB"),
            (1_610_612_736.0, "1.5 GiB"),
            (10_737_418_240.0, "10 GiB"),
            (5_497_558_138_880.0, "5 TiB"),
        ] {
            assert_eq!(bytes(count), said);
        }
        for (count, said) in [(0.0, "0 cores"), (0.254, "0.25 cores"), (1.0, "1 core"), (16.0, "16 cores")] {
            assert_eq!(cores(count), said);
        }
    }

    #[test]
    fn names_cannot_disguise_themselves() {
        for (given, shown) in [
            ("Claude", "Claude"),
            ("  Two \n words ", "Two words"),
            ("Clau\u{202e}edu\u{200b}al", "Clauedual"),
            ("\u{200b}\u{feff} \t", "agent-7"),
            ("", "agent-7"),
            ("Ärger & <b>Søn</b>", "Ärger & <b>Søn</b>"),
        ] {
            assert_eq!(name(given, "agent-7"), shown, "{given:?}");
        }
        assert_eq!(name(&"é".repeat(500), "x"), format!("{}…", "é".repeat(MAX_NAME)));
    }

    #[test]
    fn destinations_say_host_or_app() {
        for (uri, app, location) in [
            ("https://claude.ai/api/mcp/auth_callback?x=https://evil.test", false, "claude.ai"),
            ("https://claude.ai:8443/cb", false, "claude.ai:8443"),
            ("https://claude.ai.evil.test/cb", false, "claude.ai.evil.test"),
            ("https://клод.test/cb", false, "xn--d1aldm.test"),
            ("http://127.0.0.1:33418/", true, "127.0.0.1:33418"),
            ("http://localhost/cb", true, "localhost"),
            ("http://[::1]:7/", true, "[::1]:7"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", true, "cursor:"),
            ("com.example.app:/cb", true, "com.example.app:"),
        ] {
            let destination = destination(uri);
            assert_eq!((destination.app.is_some(), &*destination.location), (app, location), "{uri}");
        }
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        for (offset, relative) in [
            (0, "just now"),
            (-59, "just now"),
            (-60, "1 minute ago"),
            (-7199, "1 hour ago"),
            (7200, "in 2 hours"),
            (-86_400 * 3, "3 days ago"),
            (86_400 * 30, "in 30 days"),
        ] {
            let when = When::new(now + SignedDuration::from_secs(offset), now);
            assert_eq!(when.relative, relative, "{offset}");
        }
        let when = When::new(now, now);
        assert_eq!((&*when.machine, &*when.date), ("2027-01-15T08:00:00Z", "15 Jan 2027"));
    }
}
