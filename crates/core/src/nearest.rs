//! The known name that a misspelt one most likely stands for, for messages that ask "did you mean …?".

use strsim::jaro_winkler;

/// The least similarity, from 0 to 1, at which a name is suggested.
const ALIKE: f64 = 0.75;

/// The name that is most like `wanted`.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let alike = |name: &str| {
        let within = lower.len() >= 3 && name.contains(&lower) || name.len() >= 3 && lower.contains(name);
        // A name within the other, or shortened to some of its letters, is a better sign than letters in common.
        if within || shortens(&lower, name) { 1.0 } else { jaro_winkler(&lower, name) }
    };
    let scored = known.into_iter().map(|name| (alike(name), name)).filter(|(score, _)| *score >= ALIKE);
    scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// "; did you mean NAME?", or nothing where no known name is similar.
pub fn suggestion<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// Whether a word is another one without some of its letters, but with the first and the last one: `cmd`, `dir`.
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
