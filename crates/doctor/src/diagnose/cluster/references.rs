//! The Secrets and ConfigMaps to which the endpoint refers, and the certificates among them.

use super::{Subject, unavailable};
use crate::{
    Check, Code, Finding,
    cluster::{
        ReadFailure,
        certificate::{self, CertificateProblem},
        references::{self, Reference, ReferenceKind},
        value,
    },
    observation::clipped,
};
use portcullis_core::PublicUrl;

pub(super) fn references(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::References;
    let deployment = subject.cluster.deployment.as_ref().ok().and_then(Option::as_ref);
    let references = references::references(subject.endpoint, deployment);
    let mut findings: Vec<Finding> = Vec::new();
    for reference in &references {
        let problem = match problem(subject, reference) {
            Ok(None) => continue,
            Ok(Some((code, seen))) => Finding::problem(CHECK, code, clipped(&seen)),
            Err(failure) => unavailable(CHECK, &failure),
        };
        let problem = problem.about(&format!("{} {}", reference.kind, reference.name));
        // One finding for each kind that may not be read.
        let known = |finding: &Finding| finding.code() == Some(Code::ClusterForbidden) && finding.seen == problem.seen;
        if !findings.iter().any(known) {
            findings.push(problem);
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("{} Secrets and ConfigMaps exist", references.len())));
    }
    findings
}

fn problem(subject: &Subject<'_>, reference: &Reference) -> Result<Option<(Code, String)>, ReadFailure> {
    let (keys, label) = match reference.kind {
        ReferenceKind::Secret => match subject.cluster.secrets.get(&reference.name) {
            Some(Ok(Some(secret))) => (Some(&secret.keys), secret.endpoint.as_deref()),
            Some(Ok(None)) => (None, None),
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Ok(None),
        },
        ReferenceKind::ConfigMap => match subject.cluster.config_maps.get(&reference.name) {
            Some(Ok(keys)) => (keys.as_ref(), None),
            Some(Err(failure)) => return Err(failure.clone()),
            None => return Ok(None),
        },
    };
    let (kind, name, field) = (reference.kind, &reference.name, &reference.field);
    let Some(keys) = keys else {
        return Ok(Some((Code::ReferenceMissing, format!("there is no {kind} {name:?}, which {field} names"))));
    };
    if let Some(key) = reference.keys.iter().find(|key| !keys.contains(key)) {
        let seen = format!("the {kind} {name:?}, which {field} names, has no key {key:?}");
        return Ok(Some((Code::ReferenceIncomplete, seen)));
    }
    let endpoint = value::name(subject.endpoint);
    if reference.labelled && label != Some(endpoint) {
        let seen = format!("the Secret {name:?}, which {field} names, lacks portcullis.dev/endpoint={endpoint}");
        return Ok(Some((Code::SecretNotLabelled, seen)));
    }
    Ok(None)
}

pub(super) fn certificates(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::Certificate;
    let certificates = references::certificates(subject.endpoint);
    if certificates.is_empty() {
        return vec![Finding::ok(CHECK, "the endpoint names no Secret with a certificate")];
    }
    let host = value::text(subject.endpoint, "/spec/url").and_then(|url| url.parse::<PublicUrl>().ok());
    let host = host.as_ref().map_or("", PublicUrl::host);
    certificates.iter().map(|reference| certificate(subject, reference, host)).collect()
}

fn certificate(subject: &Subject<'_>, reference: &Reference, host: &str) -> Finding {
    const CHECK: Check = Check::Certificate;
    let (name, field) = (&reference.name, &reference.field);
    let problem = |code, seen: &str| Finding::problem(CHECK, code, clipped(seen));
    let finding = match subject.cluster.secrets.get(name) {
        None => super::not_examined(CHECK),
        Some(Err(failure)) => unavailable(CHECK, failure),
        Some(Ok(None)) => problem(Code::TlsSecretMissing, &format!("there is no Secret {name:?}, which {field} names")),
        Some(Ok(Some(secret))) => {
            let missing = reference.keys.iter().find(|key| !secret.keys.contains(key));
            match (missing, &secret.certificate) {
                (Some(key), _) => problem(Code::TlsSecretInvalid, &format!("it has no key {key:?}")),
                (None, None) => problem(Code::TlsSecretInvalid, "tls.crt is not a text"),
                (None, Some(pem)) => match certificate::examine(pem, host, subject.cluster.time) {
                    Ok(()) => Finding::ok(CHECK, format!("for {host}")),
                    Err(CertificateProblem::Unreadable(why)) => problem(Code::TlsSecretInvalid, &why),
                    Err(CertificateProblem::NotNow(when)) => {
                        problem(Code::TlsSecretExpired, &format!("the certificate {when}"))
                    }
                    Err(CertificateProblem::OtherHost(names)) => {
                        problem(Code::TlsSecretOtherHost, &format!("the certificate is for {names}, not for {host}"))
                    }
                },
            }
        }
    };
    finding.about(&format!("Secret {name}"))
}
