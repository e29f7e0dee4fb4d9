//! The conditions of an endpoint, from what may be observed of it.

use crate::status::RolloutProgress;
use crate::status::endpoint::{EndpointObservation as Observed, *};
use kube::core::DynamicObject;
use portcullis_api::condition::EXPOSED;
use portcullis_config::LoadedRevision;
use portcullis_plan::CorsEnforcer;
use serde_json::json;

fn url() -> PublicUrl {
    "https://mcp.example.com/mcp".parse().unwrap()
}

fn revision() -> Revision {
    Revision::of(b"new", b"", b"", b"")
}

fn loaded(revision: Revision, version: &str, rejected: Option<&str>) -> LoadedRevision {
    let rejected = rejected.map(ToOwned::to_owned);
    LoadedRevision { revision, version: version.to_owned(), rejected, untrusted_forwarders: Vec::new() }
}

fn deployment(replicas: i64, ready: i64, available: &str) -> Value {
    let conditions = [json!({"type": "Available", "status": available})];
    json!({"spec": {"replicas": replicas}, "status": {"readyReplicas": ready, "conditions": conditions}})
}

fn ingress() -> DynamicObject {
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    serde_json::from_value(json!({"metadata": {"name": "agents"}, "status": status})).unwrap()
}

/// The type, status and reason of each finding, but for those with files and tests of their own.
fn summary(findings: &[Finding]) -> Vec<(&str, Option<bool>, &str)> {
    let elsewhere = ["ExecConfined", "WritesConfined", "ClientAddressesKnown"];
    let findings = findings.iter().filter(|finding| !elsewhere.contains(&finding.kind));
    findings.map(|finding| (finding.kind, finding.holds, finding.reason)).collect()
}

#[test]
fn every_part_decides_about_ready() {
    let (url, new, old) = (url(), revision(), Revision::of(b"old", b"", b"", b""));
    let offers = Ok(vec!["2026-07-28".to_owned()]);
    let complete = Rollout { progress: RolloutProgress::Complete, killed: None, look_again: None };
    let up = deployment(2, 2, "True");
    let ingress = ingress();
    let servers =
        [("a".to_owned(), Ok(loaded(new.clone(), "1", None))), ("b".to_owned(), Ok(loaded(new.clone(), "1", None)))];
    let good = Observed {
        deployment: Some(&up),
        exposed_by: ExposedBy::Ingress(Some(&ingress)),
        servers: &servers,
        verified: Some(&offers),
        ..quiet(&url, &new, &complete)
    };
    let parts = [
        (READY, Some(true), reason::READY),
        (AVAILABLE, Some(true), reason::SERVERS_READY),
        (EXPOSED, Some(true), reason::INGRESS_APPLIED),
        (CREDENTIALS_LOADED, Some(true), reason::LOADED),
        (VERIFIED, Some(true), reason::STEPS_SUCCEEDED),
    ];
    assert_eq!(summary(&endpoint_findings(&good)), parts);

    let (secret, login) = ("users".to_owned(), "local".to_owned());
    let absent = LoginProblem::SecretNotFound { login, secret, endpoint: "agents".to_owned() };
    let some = endpoint_findings(&Observed { logins: (2, &[]), ..good.clone() });
    let none = endpoint_findings(&Observed { logins: (2, std::slice::from_ref(&absent)), ..good.clone() });
    assert_eq!(summary(&some[..5]), parts);
    assert_eq!(summary(&some[5..]), [(LOGINS_READY, Some(true), reason::LOGINS_USABLE)]);
    assert_eq!(summary(&none)[0], (READY, Some(false), reason::SECRET_NOT_FOUND));
    assert_eq!((none[0].message.as_str(), none[5].message.as_str()), (&*absent.to_string(), &*absent.to_string()));
    let large = endpoint_findings(&Observed { limits_problem: Some("raise it"), ..good.clone() });
    assert_eq!(large.first().unwrap().holds, Some(true), "small requests go on");
    let limits = large.iter().find(|finding| finding.kind == LIMITS_FIT).unwrap();
    assert_eq!((limits.holds, limits.message.as_str()), (Some(false), "raise it"));
    let unknown = [UnknownTool { list: "deny", index: 1, pattern: "run_comand" }];
    let misspelt = endpoint_findings(&Observed { unknown_tools: &unknown, ..good.clone() });
    assert_eq!(misspelt.first().unwrap().holds, Some(true), "the other entries count");
    let tools = misspelt.iter().find(|finding| finding.kind == TOOLS_KNOWN).unwrap();
    assert_eq!((tools.holds, tools.reason), (Some(false), reason::UNKNOWN_TOOL));
    assert_eq!(tools.message, "spec.tools.deny[1]: there is no tool \"run_comand\"; did you mean run_command?");
    let without = endpoint_findings(&Observed { console_served: false, ..good.clone() });
    assert_eq!(without.first().unwrap().holds, Some(true), "agents do not need it");
    assert!(summary(&without).contains(&(CONSOLE_SERVED, Some(false), reason::PATH_IN_USE)));
    let many = endpoint_findings(&Observed { logins: (1, &vec![absent; 7]), ..good.clone() });
    assert!(many[5].message.ends_with("; and 2 more"), "{}", many[5].message);

    let (zero, starting) = (deployment(0, 0, "True"), deployment(2, 0, "False"));
    let lagging = [servers[0].clone(), ("b".to_owned(), Ok(loaded(old.clone(), "1", None)))];
    let refusing = [("a".to_owned(), Ok(loaded(old, "1", Some("clients.json: no JSON")))), servers[1].clone()];
    let silent = [("a".to_owned(), Err("no connection".to_owned()))];
    let step = VerifyError::Step { server: "a".to_owned(), step: "GET /x".to_owned(), mismatch: "got 500".to_owned() };
    let (failed, not_allowed) = (Err(step), Err(VerifyError::AddressNotAllowed { server: "a".to_owned() }));
    let taken = Blocker { reason: reason::NAME_TAKEN, message: "taken".to_owned() };
    let rows = [
        (Observed { deployment: Some(&zero), ..good.clone() }, AVAILABLE, Some(false), reason::SCALED_TO_ZERO, false),
        (
            Observed { deployment: Some(&starting), ..good.clone() },
            AVAILABLE,
            Some(false),
            reason::SERVERS_STARTING,
            false,
        ),
        (Observed { deployment: None, ..good.clone() }, AVAILABLE, Some(false), reason::SERVERS_STARTING, false),
        (Observed { exposed_by: ExposedBy::None, ..good.clone() }, EXPOSED, Some(true), reason::CLUSTER_ONLY, true),
        (
            Observed { exposed_by: ExposedBy::Ingress(None), ..good.clone() },
            EXPOSED,
            Some(false),
            reason::INGRESS_MISSING,
            false,
        ),
        (Observed { servers: &[], ..good.clone() }, CREDENTIALS_LOADED, Some(false), reason::NO_SERVERS, false),
        (Observed { servers: &lagging, ..good.clone() }, CREDENTIALS_LOADED, Some(false), reason::LOADING, false),
        (Observed { servers: &silent, ..good.clone() }, CREDENTIALS_LOADED, Some(false), reason::LOADING, false),
        (Observed { servers: &refusing, ..good.clone() }, CREDENTIALS_LOADED, Some(false), reason::REJECTED, false),
        (Observed { verified: None, ..good.clone() }, VERIFIED, None, reason::NO_READY_SERVER, false),
        (Observed { verified: Some(&failed), ..good.clone() }, VERIFIED, Some(false), reason::STEP_FAILED, false),
        (Observed { verified: Some(&not_allowed), ..good.clone() }, VERIFIED, None, reason::ADDRESS_NOT_ALLOWED, true),
    ];
    for (observed, kind, holds, reason, ready) in rows {
        let findings = endpoint_findings(&observed);
        let found = findings.iter().find(|finding| finding.kind == kind).unwrap();
        assert_eq!((found.holds, found.reason), (holds, reason));
        assert_eq!(findings[0].holds, Some(ready), "{reason}");
        if !ready {
            assert_eq!((findings[0].reason, &findings[0].message), (reason, &found.message));
        }
    }
    let blocked = endpoint_findings(&Observed { blocker: Some(&taken), ..good.clone() });
    assert_eq!((blocked[0].holds, blocked[0].reason), (Some(false), reason::NAME_TAKEN));
    assert_eq!(summary(&blocked[5..]), [(STALLED, Some(true), reason::NAME_TAKEN)]);
    let refused = &endpoint_findings(&Observed { servers: &refusing, ..good })[3].message;
    let words = "1 of 2 servers have loaded revision";
    assert!(refused.contains(words) && refused.contains("pod a refused the newest files"), "{refused}");
    assert!(refused.contains("clients.json: no JSON"), "{refused}");
}

#[test]
fn an_endpoint_that_cannot_be_planned_keeps_what_was_known() {
    let mut endpoint: McpEndpoint = serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint",
        "metadata": {"name": "agents", "generation": 2}, "spec": {"url": "https://mcp.example.com/mcp"},
    }))
    .unwrap();
    let available = finding(AVAILABLE, Some(true), reason::SERVERS_READY, String::new());
    endpoint.status = Some(McpEndpointStatus {
        url: Some("https://mcp.example.com/mcp".to_owned()),
        conditions: conditions(&[available], &[], Some(1), Timestamp::UNIX_EPOCH),
        ..McpEndpointStatus::default()
    });
    let blocker = Blocker { reason: reason::INVALID, message: "no".to_owned() };
    let once = blocked_status(&endpoint, &blocker, Timestamp::UNIX_EPOCH);
    assert_eq!((once.url.as_deref(), once.observed_generation), (Some("https://mcp.example.com/mcp"), Some(2)));
    let kinds: Vec<&str> = once.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, [READY, STALLED, AVAILABLE]);
    endpoint.status = Some(once.clone());
    let later = Timestamp::from_second(1000).unwrap();
    assert_eq!(blocked_status(&endpoint, &blocker, later), once, "said once, it is not written again");
}

/// A server goes on with its last good files. That it refused the newest is said whatever revision it has loaded: a
/// certificate is not part of the revision.
#[test]
fn whatever_a_server_refused_is_said() {
    let (url, new, old) = (url(), revision(), Revision::of(b"old", b"", b"", b""));
    let complete = Rollout { progress: RolloutProgress::Complete, killed: None, look_again: None };
    let missing = "tls.crt is missing";
    let server = |name: &str, revision: &Revision, rejected: Option<&str>| {
        (name.to_owned(), Ok(loaded(revision.clone(), "1", rejected)))
    };
    let silent = |name: &str| (name.to_owned(), Err("no connection".to_owned()));
    let rows = [
        (vec![server("a", &new, None), server("b", &new, None)], Some(true), reason::LOADED, "every server has loaded"),
        (
            vec![server("a", &new, None), server("b", &new, Some(missing))],
            Some(false),
            reason::REJECTED,
            "2 of 2 servers have loaded revision REV; pod b refused the newest files and keeps the previous ones: tls.crt is missing",
        ),
        (
            vec![server("a", &old, None), server("b", &new, Some(missing))],
            Some(false),
            reason::REJECTED,
            "1 of 2 servers have loaded revision REV; pod b refused",
        ),
        (vec![silent("a"), server("b", &new, Some(missing))], Some(false), reason::REJECTED, "pod b refused"),
        (vec![server("a", &old, Some(missing))], Some(false), reason::REJECTED, "0 of 1 servers"),
        (vec![server("a", &old, None), server("b", &new, None)], Some(false), reason::LOADING, "1 of 2 servers"),
        (
            vec![silent("a"), server("b", &new, None)],
            Some(false),
            reason::LOADING,
            "pod a does not report its revision: no connection",
        ),
    ];
    for (servers, holds, reason, words) in rows {
        let up = deployment(2, 2, "True");
        let observed = Observed { deployment: Some(&up), servers: &servers, ..quiet(&url, &new, &complete) };
        let findings = endpoint_findings(&observed);
        let found = findings.iter().find(|finding| finding.kind == CREDENTIALS_LOADED).unwrap();
        assert_eq!((found.holds, found.reason), (holds, reason), "{servers:?}");
        let words = words.replace("REV", new.as_str());
        assert!(found.message.contains(&words), "{}", found.message);
    }
}

fn quiet<'a>(url: &'a PublicUrl, revision: &'a Revision, rollout: &'a Rollout) -> Observed<'a> {
    Observed {
        url,
        revision,
        namespace: "dev",
        deployment: None,
        rollout,
        exposed_by: ExposedBy::None,
        notes: Notes { cors: CorsEnforcer::Server, cors_note: None, backend_note: None, annotations_note: None },
        servers: &[],
        verified: None,
        active_grants: 0,
        logins: (0, &[]),
        exec_problem: None,
        writes_problem: None,
        limits_problem: None,
        unknown_tools: &[],
        console_served: true,
        rotated_for: None,
        blocker: None,
        definitions: None,
    }
}

#[test]
fn what_keeps_servers_from_starting_is_said_while_others_serve_and_when_none_does() {
    let (url, revision) = (url(), revision());
    let stuck = Blocker { reason: reason::IMAGE_PULL_FAILED, message: "image x cannot be pulled".to_owned() };
    let stuck = Rollout { progress: RolloutProgress::Stuck(stuck), killed: None, look_again: None };
    let complete = Rollout { progress: RolloutProgress::Complete, killed: None, look_again: None };
    let killed = Rollout { killed: Some("pod a was killed".to_owned()), ..complete.clone() };
    let old = Blocker { reason: reason::DEFINITIONS_OUTDATED, message: "upgrade".to_owned() };
    let (serving, down) = (deployment(2, 2, "True"), deployment(2, 0, "False"));
    let base = |rollout| quiet(&url, &revision, rollout);
    let available = |observed: &Observed<'_>| {
        let findings = endpoint_findings(observed);
        let last = findings.last().filter(|last| last.kind == STALLED).map(|last| last.reason);
        (findings[1].holds, findings[1].reason, findings[1].message.clone(), last)
    };
    let rows = [
        (
            Observed { deployment: Some(&serving), ..base(&stuck) },
            (Some(true), reason::SERVERS_READY, "2 of 2 servers are ready", Some(reason::IMAGE_PULL_FAILED)),
        ),
        (
            Observed { deployment: Some(&down), ..base(&stuck) },
            (
                Some(false),
                reason::IMAGE_PULL_FAILED,
                "0 of 2 servers are ready: image x cannot be pulled",
                Some(reason::IMAGE_PULL_FAILED),
            ),
        ),
        (
            Observed { deployment: Some(&serving), ..base(&killed) },
            (Some(true), reason::OUT_OF_MEMORY, "2 of 2 servers are ready; pod a was killed", None),
        ),
        (
            Observed { deployment: Some(&serving), definitions: Some(&old), ..base(&complete) },
            (Some(true), reason::SERVERS_READY, "2 of 2 servers are ready", Some(reason::DEFINITIONS_OUTDATED)),
        ),
    ];
    for (observed, (holds, reason, message, stalled)) in rows {
        assert_eq!(available(&observed), (holds, reason, message.to_owned(), stalled));
    }
}
