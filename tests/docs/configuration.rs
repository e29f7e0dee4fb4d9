//! `docs/configuration.md` has the values of the chart, and the variables, labels and annotations of the code.

use crate::read;
use regex::Regex;

#[test]
fn every_setting_is_in_the_page() {
    let document = read("docs/configuration.md");
    let mut missing = Vec::new();
    for (pattern, least, paths) in [
        (r"(?m)^([a-zA-Z]+):", 25, &["charts/portcullis/values.yaml"][..]),
        (r#"env = "(\w+)""#, 8, &["src/cli/operator.rs", "src/cli/serve.rs"]),
        (
            r#"const \w+: &str = "(portcullis\.dev/[a-z-]+)";"#,
            13,
            &[
                "crates/api/src/labels.rs",
                "crates/operator/src/diff.rs",
                "crates/plan/src/lib.rs",
                "crates/plan/src/workspace/mod.rs",
            ],
        ),
    ] {
        let pattern = Regex::new(pattern).unwrap();
        let sources: String = paths.iter().map(|path| read(path)).collect();
        let names: Vec<String> = pattern.captures_iter(&sources).map(|found| format!("`{}`", &found[1])).collect();
        assert!(names.len() >= least, "{paths:?}: {names:?}");
        missing.extend(names.into_iter().filter(|name| !document.contains(name.as_str())));
    }
    assert!(missing.is_empty(), "add {missing:?}");
}
