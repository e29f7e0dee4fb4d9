//! `docs/metrics.md` has every metric of servers and operator, and every alert of the chart.

use crate::read;
use regex::Regex;

#[test]
fn every_metric_and_alert_is_in_the_page() {
    let document = read("docs/metrics.md");
    let metric = Regex::new(r#"\.register(?:_with_unit)?\(\s*"(\w+)""#).unwrap();
    let mut missing = Vec::new();
    for (path, prefix, least) in [
        ("crates/telemetry/src/metrics.rs", "portcullis", 14),
        ("crates/operator/src/metrics.rs", "portcullis_operator", 4),
    ] {
        let source = read(path);
        let names: Vec<String> =
            metric.captures_iter(&source).map(|found| format!("`{prefix}_{}", &found[1])).collect();
        assert!(names.len() >= least, "{path}: {names:?}");
        // The format adds a unit, or `_total`.
        let listed = |name: &String| {
            ["`", "_total`", "_seconds`", "_info`"].iter().any(|end| document.contains(&format!("{name}{end}")))
        };
        missing.extend(names.into_iter().filter(|name| !listed(name)));
    }
    let alert = Regex::new(r"- alert: (\w+)").unwrap();
    let alerts = read("charts/portcullis/templates/prometheus-rule.yaml");
    let alerts = alert.captures_iter(&alerts).map(|found| format!("`{}`", &found[1]));
    missing.extend(alerts.filter(|name| !document.contains(name.as_str())));
    assert!(missing.is_empty(), "add {missing:?}");
}
