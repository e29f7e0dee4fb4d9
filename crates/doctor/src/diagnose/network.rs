//! The URL, DNS, TCP and TLS.

use super::not_examined;
use crate::{
    Check, Code, Finding, Outcome,
    observation::{Certificate, ConnectFailure, ConnectionAttempt, Observations, TlsFailure},
};
use jiff::{SignedDuration, Timestamp};
use portcullis_core::{PublicUrl, ip_ranges::is_public};
use std::net::IpAddr;

/// A certificate that is valid for less than this should have been renewed, unless its whole lifetime is short.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// The last part of a lifetime in which a certificate should have been renewed: one sixth.
const LAST_PART: i32 = 6;

pub(super) fn url(observed: &Observations) -> Finding {
    match &observed.url {
        Ok(url) => Finding::ok(Check::Url, url.resource()),
        // If there is no such McpEndpoint, that is the cause.
        Err(_) if observed.cluster.as_ref().is_some_and(|cluster| cluster.endpoint == Ok(None)) => {
            Finding::skipped(Check::Url, Outcome::Skipped("the McpEndpoint does not exist"))
        }
        Err(_) if observed.url_unknown => {
            Finding::problem(Check::Url, Code::EndpointNotRead, "the McpEndpoint was not read")
        }
        Err(reason) => Finding::problem(Check::Url, Code::UrlInvalid, *reason),
    }
}

pub(super) fn dns(observed: &Observations) -> Finding {
    let (Ok(url), Some(addresses)) = (&observed.url, &observed.addresses) else { return not_examined(Check::Dns) };
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(reason) => {
            return Finding::problem(Check::Dns, Code::DnsFailed, format!("{}: {reason}", url.host()));
        }
    };
    let all = format!("{} is {}", url.host(), list(addresses));
    let private: Vec<IpAddr> = addresses.iter().copied().filter(|address| !is_public(*address)).collect();
    if private.is_empty() || is_local(url, addresses) {
        return Finding::ok(Check::Dns, all);
    }
    Finding::problem(Check::Dns, Code::DnsPrivate, format!("{all}; not public: {}", list(&private)))
}

/// Whether the endpoint is on this machine on purpose, as `portcullis dev` is.
fn is_local(url: &PublicUrl, addresses: &[IpAddr]) -> bool {
    let named = url.host() == "localhost" || url.domain().is_none();
    named && addresses.iter().all(IpAddr::is_loopback)
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn tcp(observed: &Observations) -> Finding {
    let attempts = &observed.connections;
    let failed: Vec<(&ConnectionAttempt, &ConnectFailure)> =
        attempts.iter().filter_map(|attempt| Some((attempt, attempt.failure.as_ref()?))).collect();
    let Some((_, first)) = failed.first() else {
        let Some(connected) = attempts.first() else { return not_examined(Check::Tcp) };
        return Finding::ok(Check::Tcp, format!("connected to {}", connected.address));
    };
    let seen = failed.iter().map(|(attempt, failure)| format!("{}: {}", attempt.address, text(failure)));
    let seen = seen.collect::<Vec<_>>().join("; ");
    if failed.len() == attempts.len() {
        let code = match first {
            ConnectFailure::Refused => Code::TcpRefused,
            ConnectFailure::Timeout => Code::TcpTimeout,
            ConnectFailure::Other(_) => Code::TcpUnreachable,
        };
        return Finding::problem(Check::Tcp, code, seen);
    }
    // `localhost` has two addresses, and a server usually listens at one.
    if attempts.iter().all(|attempt| attempt.address.ip().is_loopback()) {
        return Finding::ok(Check::Tcp, format!("connected; {seen}"));
    }
    Finding::problem(Check::Tcp, Code::TcpPartial, seen)
}

fn text(failure: &ConnectFailure) -> &str {
    match failure {
        ConnectFailure::Refused => "connection refused",
        ConnectFailure::Timeout => "no answer in time",
        ConnectFailure::Other(reason) => reason,
    }
}

pub(super) fn tls(observed: &Observations) -> Finding {
    match &observed.tls {
        Some(Ok(certificate)) => validity(certificate, observed.time),
        Some(Err(failure)) => {
            let (code, seen) = explain(failure);
            Finding::problem(Check::Tls, code, seen)
        }
        None if observed.url.as_ref().is_ok_and(|url| !url.is_https()) => {
            Finding::ok(Check::Tls, "plain http, which is allowed on this machine only")
        }
        None => not_examined(Check::Tls),
    }
}

fn validity(certificate: &Certificate, now: Timestamp) -> Finding {
    let Some(not_after) = certificate.not_after else { return Finding::ok(Check::Tls, "the certificate is trusted") };
    let left = not_after.duration_since(now);
    let seen = format!("the certificate is trusted, and valid until {not_after}");
    let last_part = certificate.not_before.map_or(SOON, |begin| not_after.duration_since(begin) / LAST_PART);
    if left < SOON.min(last_part) {
        return Finding::problem(Check::Tls, Code::TlsExpiresSoon, seen);
    }
    Finding::ok(Check::Tls, seen)
}

fn explain(failure: &TlsFailure) -> (Code, String) {
    let since = |what: &str, time: &Option<Timestamp>| match time {
        Some(time) => format!("{what} {time}"),
        None => what.to_owned(),
    };
    match failure {
        TlsFailure::NotSpoken => (Code::TlsNotSpoken, "the answer to the handshake is not TLS".to_owned()),
        TlsFailure::Refused(reason) => (Code::TlsRefused, reason.clone()),
        TlsFailure::Expired(time) => (Code::TlsExpired, since("the certificate expired", time)),
        TlsFailure::NotYetValid(time) => (Code::TlsNotYetValid, since("the certificate is not valid before", time)),
        TlsFailure::WrongName(names) => (Code::TlsWrongName, format!("the certificate is for {names}")),
        TlsFailure::SelfSigned => (Code::TlsSelfSigned, "the certificate is its own issuer".to_owned()),
        TlsFailure::UnknownAuthority(sent) => {
            (Code::TlsUnknownAuthority, format!("certificates sent: {sent}; none is issued by a trusted authority"))
        }
        TlsFailure::Invalid(reason) => (Code::TlsInvalid, reason.clone()),
    }
}
