//! `docs/errors.md` lists the words by which programs tell errors apart: those of the code, and no others.

use crate::read;
use regex::Regex;
use std::collections::BTreeSet;

/// Every match of the first group of a pattern in source files, without their tests.
fn words(pattern: &str, paths: &[&str]) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let mut found = Vec::new();
    for path in paths {
        let source = read(path);
        let source = source.split("\n#[cfg(test)]\nmod ").next().unwrap();
        let before = found.len();
        found.extend(pattern.captures_iter(source).map(|word| word[1].to_owned()));
        assert!(found.len() > before, "{path}: no match of {pattern}");
    }
    found.into_iter().collect()
}

/// Each section of the page, and what the code has for it.
fn sections() -> [(&'static str, BTreeSet<String>); 4] {
    let refusals = words(
        r#"(?:HttpProblem|ProblemDetails)::new\(\s*StatusCode::\w+,\s*"(\w+)""#,
        &[
            "crates/server/src/app_state/admission.rs",
            "crates/server/src/app_state/refuse.rs",
            "crates/server/src/app_state/oauth_endpoints.rs",
            "crates/server/src/body.rs",
            "crates/server/src/limits.rs",
            "crates/server/src/public.rs",
            "crates/rest/src/lib.rs",
        ],
    );
    let failures = words(r#"\(StatusCode::\w+, "(\w+)"\)"#, &["crates/rest/src/problem.rs"]);
    let codes = words(
        r#"=> \{?\s*"((?:invalid|unsupported|unauthorized|temporarily|server|request|interaction)_\w+)""#,
        &["crates/oauth/src/error.rs", "crates/oauth/src/authorize.rs", "crates/oauth/src/clients/registration.rs"],
    );
    let conditions = words(
        r#"const \w+: &str = "([A-Z]\w+)";"#,
        &["crates/operator/src/status/reason.rs", "crates/operator/src/workspaces/reason.rs"],
    );
    // Words for the audit alone are in docs/audit.md.
    let audit = ["invalid_parameter", "invalid_assertion", "invalid_document"].map(str::to_owned);
    let codes = codes.difference(&audit.into()).cloned().collect();
    [
        ("## Requests that are refused", refusals),
        ("## Failures of tools over plain HTTP", failures),
        ("## OAuth", codes),
        ("## Reasons of conditions", conditions),
    ]
}

#[test]
fn every_word_of_an_error_is_in_the_page() {
    let document = read("docs/errors.md");
    let quoted = Regex::new("`(\\w+)`").unwrap();
    let mut all = BTreeSet::new();
    let sections = sections();
    for (_, words) in &sections {
        all.extend(words.clone());
    }
    for (heading, words) in sections {
        let section = document.split_once(heading).unwrap().1.split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let listed: BTreeSet<String> = cells
            .flat_map(|cell| {
                quoted.captures_iter(&format!("`{cell}")).map(|word| word[1].to_owned()).collect::<Vec<_>>()
            })
            .collect();
        let extra: Vec<_> = listed.iter().filter(|word| !all.contains(*word) && *word != "access_denied").collect();
        assert!(extra.is_empty(), "{heading}: the code does not have {extra:?}");
        // A failure may be described as a refusal.
        let missing: Vec<_> = words.iter().filter(|word| !document.contains(&format!("`{word}`"))).collect();
        assert!(missing.is_empty(), "{heading}: add {missing:?}");
    }
}
