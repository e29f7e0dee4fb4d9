//! What a client that nobody vouches for calls itself, made fit to be shown: one line, nothing invisible, not long.

/// As many characters as an `OAuthClient`'s `displayName` may have.
const MAX_CHARS: usize = 64;

/// The name without what could mislead; `None` where nothing is left.
pub(super) fn cleaned(name: &str) -> Option<String> {
    // Bounded first: what follows is linear in it.
    let visible: String = name
        .chars()
        .take(MAX_CHARS * 8)
        .map(|char| if char.is_whitespace() { ' ' } else { char })
        .filter(|char| !char.is_control() && !is_invisible(*char))
        .collect();
    let words: Vec<&str> = visible.split(' ').filter(|word| !word.is_empty()).collect();
    let line: String = words.join(" ").chars().take(MAX_CHARS).collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Characters that reorder a text (UAX #9), join or split its letters unseen, or take no place at all.
fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_to_be_shown() {
        for (name, expected) in [
            ("Claude", Some("Claude")),
            ("  Visual \t Studio\n Code ", Some("Visual Studio Code")),
            ("Zoë’s 助手 🙂", Some("Zoë’s 助手 🙂")),
            ("safe\u{202e}txt.exe", Some("safetxt.exe")),
            ("Cl\u{200b}au\u{ad}de\u{2066}\u{feff}", Some("Claude")),
            ("a\u{0}b\u{1b}[31mc\u{7f}\u{9b}", Some("ab[31mc")),
            ("a\u{2028}b\u{a0}c", Some("a b c")),
            ("\u{3164}\u{115f}\u{e0041}", None),
            ("", None),
            (" \r\n ", None),
        ] {
            assert_eq!(cleaned(name).as_deref(), expected, "{name:?}");
        }
        assert_eq!(cleaned(&"ä".repeat(1_000)).unwrap().chars().count(), MAX_CHARS);
        assert_eq!(cleaned(&format!("{} b", "a".repeat(MAX_CHARS - 1))).unwrap(), "a".repeat(MAX_CHARS - 1));
    }
}
