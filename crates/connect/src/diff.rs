//! The unified diff that `--dry-run` prints.

use similar::TextDiff;

/// The number of unchanged lines around a change.
const CONTEXT: usize = 3;

/// The change of a file as a unified diff; empty if there is none.
#[must_use]
pub fn unified(before: &str, after: &str, path: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(CONTEXT).header(path, path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_has_the_changed_lines() {
        let before = "1\n2\n3\n4\n5\n6\n";
        let expected = "--- f\n+++ f\n@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n+five\n 6\n";
        assert_eq!(unified(before, &before.replace('5', "five"), "f"), expected);
        assert_eq!(unified(before, before, "f"), "");
        assert_eq!(unified("", "1\n", "f"), "--- f\n+++ f\n@@ -0,0 +1 @@\n+1\n");
    }
}
