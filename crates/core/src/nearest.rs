//! Finds the known name that is most similar to a misspelt one, for messages with "did you mean …?".

use strsim::jaro_winkler;

/// The minimum similarity of a suggestion, from 0 to 1.
const ALIKE: f64 = 0.75;

/// The known name that is most similar to `wanted`; `None` if none is similar.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let alike = |name: &str| {
        let within = lower.len() >= 3 && name.contains(&lower) || name.len() >= 3 && lower.contains(name);
        // A name that contains the other or abbreviates it is a better match than one with common letters.
        if within || shortens(&lower, name) { 1.0 } else { jaro_winkler(&lower, name) }
    };
    let scored = known.into_iter().map(|name| (alike(name), name)).filter(|(score, _)| *score >= ALIKE);
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// "; did you mean NAME?", or an empty text if no known name is similar.
pub fn suggestion<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// Whether `short` is `long` without some of its inner letters: `cmd` or `dir` for longer words.
fn shortens(short: &str, long: &str) -> bool {
    let mut rest = long.chars();
    let ends = short.chars().next() == long.chars().next() && short.chars().last() == long.chars().last();
    short.len() >= 3 && ends && short.chars().all(|wanted| rest.any(|letter| letter == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_where_there_is_one() {
        let tools = ["run_command", "read_file", "list_files", "list_processes", "fetch"];
        for (wanted, near) in [
            ("run_comand", Some("run_command")),
            ("runCommand", Some("run_command")),
            ("readfile", Some("read_file")),
            ("list_file", Some("list_files")),
            ("ftch", Some("fetch")),
            ("workspaces.run_command", Some("run_command")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, tools.into_iter()), near, "{wanted}");
        }
    }
}
