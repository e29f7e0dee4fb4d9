//! Sanitizes names from users and clients, and detects names that imitate others (UTS #39, UTR #36).

use unicode_normalization::{UnicodeNormalization as _, char::canonical_combining_class};
use unicode_security::{RestrictionLevel, RestrictionLevelDetection as _, skeleton};
use unicode_segmentation::UnicodeSegmentation as _;

/// The maximum number of combining marks on one letter. Decomposed Vietnamese and Thai need two.
const MAX_MARKS: usize = 2;
/// The maximum length of a text in bytes. Longer texts are truncated first, since the time of the checks is linear in
/// the length.
const MAX_BYTES: usize = 4 << 10;

/// Phrases by which the consent page describes clients. A test compares this list with the page.
const CLAIMS: [&str; 8] = [
    "set up by your",
    "platform team",
    "describes itself",
    "host is checked",
    "registered itself",
    "nobody checked",
    "allowed before",
    "verified",
];

/// Why a name misleads. The messages follow the name of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misleading {
    /// Invisible characters.
    #[error(
        "must not have control characters, invisible characters or characters that change the direction of the text"
    )]
    Invisible,
    /// Stacked combining marks.
    #[error("must not have more than {MAX_MARKS} combining marks on one letter")]
    Marks,
    /// Symbols that imitate a verification.
    #[error(
        "must not have symbols such as check marks, locks, shields, badges, stars or frames: they imitate a verification"
    )]
    Symbols,
    /// Confusable letters.
    #[error("must not mix scripts in one word, or imitate Latin letters by those of another script")]
    Scripts,
    /// Claims of the consent page.
    #[error("must not use the words by which the consent page says who set up or verified a client")]
    Claim,
}

/// One line without invisible characters, with at most [`MAX_MARKS`] marks per letter and `most` grapheme clusters.
/// Longer text is truncated and ends with `…`.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    let text = bounded(text);
    let line = one_line(&seen(text).nfc().collect::<String>());
    let line = with_few_marks(&line);
    let mut clusters = line.grapheme_indices(true).skip(most);
    match clusters.next() {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default().trim_end()),
    }
}

/// Checks a name that a client chose for itself. Returns the name in its compatibility form (NFKC), cut to `most`
/// characters, `None` if it is empty then, or why it would mislead the user who is asked for consent.
pub fn check(name: &str, most: usize) -> Result<Option<String>, Misleading> {
    let name: String = bounded(name).chars().filter(|&char| !joins(char)).nfkc().collect();
    let name = one_line(&name);
    if name.chars().any(unseen) {
        return Err(Misleading::Invisible);
    }
    if with_few_marks(&name) != name {
        return Err(Misleading::Marks);
    }
    if name.chars().any(imitates) {
        return Err(Misleading::Symbols);
    }
    if !words(&name).all(is_honest) {
        return Err(Misleading::Scripts);
    }
    let folded = folded(&name);
    if CLAIMS.iter().any(|claim| folded.contains(&self::folded(claim))) {
        return Err(Misleading::Claim);
    }
    let name = fit(&name, most).trim_end();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// Like [`check`], but removes misleading characters. `None` if the rest is still misleading or empty.
#[must_use]
pub fn cleaned(name: &str, most: usize) -> Option<String> {
    let name: String = seen(bounded(name)).nfkc().filter(|&char| !imitates(char)).collect();
    check(&with_few_marks(&one_line(&name)), most).ok().flatten()
}

/// The text up to [`MAX_BYTES`].
fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_BYTES)).unwrap_or_default()
}

/// The visible characters, with spaces for all whitespace.
fn seen(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|char| if char.is_whitespace() { ' ' } else { char }).filter(|&char| !unseen(char) && !joins(char))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The longest prefix of whole grapheme clusters with at most `most` code points, the limit of an `OAuthClient`'s name.
fn fit(name: &str, most: usize) -> &str {
    let mut points = 0;
    let fitting = name.grapheme_indices(true).take(most).take_while(|(_, cluster)| {
        points += cluster.chars().count();
        points <= most
    });
    let end = fitting.last().map_or(0, |(start, cluster)| start + cluster.len());
    name.get(..end).unwrap_or_default()
}

/// Removes the marks beyond [`MAX_MARKS`] on one letter, including those of composed letters.
fn with_few_marks(text: &str) -> String {
    let mut marks = 0;
    let few = text.nfd().filter(|&char| {
        marks = if is_mark(char) { marks + 1 } else { 0 };
        marks <= MAX_MARKS
    });
    few.nfc().collect()
}

/// Whether the character is a combining mark, on or around a letter.
fn is_mark(char: char) -> bool {
    canonical_combining_class(char) != 0
        || matches!(char, '\u{488}' | '\u{489}' | '\u{1abe}' | '\u{20dd}'..='\u{20e0}' | '\u{20e2}'..='\u{20e4}' | '\u{a670}'..='\u{a672}')
}

/// Whether the character is a joiner or variation selector of emoji, Persian or Indic scripts. These are removed
/// silently.
fn joins(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether the character is a control character, reorders the text (UAX #9), joins or splits letters invisibly, or has
/// no width.
fn unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// Whether the symbol looks like a mark of verification or a part of a page: check marks, stars, badges, frames and
/// their entire blocks; among pictographs locks, keys, shields, medals and seals.
fn imitates(char: char) -> bool {
    matches!(char,
        '\u{221a}' | '\u{237b}' | '\u{2440}'..='\u{245f}' | '\u{2500}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}'
        | '\u{10102}' | '\u{1f100}'..='\u{1f2ff}' | '\u{1f31f}' | '\u{1f396}'..='\u{1f397}' | '\u{1f3c5}'..='\u{1f3c6}'
        | '\u{1f3f5}' | '\u{1f44c}'..='\u{1f44d}' | '\u{1f4af}' | '\u{1f4db}' | '\u{1f4dc}' | '\u{1f506}' | '\u{1f50f}'..='\u{1f513}'
        | '\u{1f516}' | '\u{1f518}' | '\u{1f51e}'..='\u{1f523}' | '\u{1f52f}'..='\u{1f53d}' | '\u{1f5dd}' | '\u{1f5f3}'
        | '\u{1f5f5}'..='\u{1f5f9}' | '\u{1f650}'..='\u{1f67f}' | '\u{1f6a8}' | '\u{1f6ab}' | '\u{1f6e1}'
        | '\u{1f780}'..='\u{1f7ff}' | '\u{1f947}'..='\u{1f949}' | '\u{1fa80}' | '\u{1faaa}')
}

/// The words of a name: sequences of letters, marks and digits.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|char: char| !char.is_alphanumeric() && !is_mark(char)).filter(|word| !word.is_empty())
}

/// Whether a word has one script, or Latin with Chinese, Japanese or Korean (UTS #39 §5.2, highly restrictive), and is
/// not a Latin word in the letters of another script (§4, whole-script confusables).
fn is_honest(word: &str) -> bool {
    let letters: String = word.chars().filter(|char| !char.is_numeric()).collect();
    if letters.is_ascii() {
        return true;
    }
    let foreign = !letters.chars().any(|char| char.is_ascii_alphabetic());
    let latin = || skeleton(&letters).all(|char| char.is_ascii_alphabetic());
    letters.as_str().check_restriction_level(RestrictionLevel::HighlyRestrictive)
        && !(foreign && letters.chars().count() > 1 && latin())
}

/// The visual skeleton of a text (UTS #39) in lower case, with letters and digits only.
fn folded(text: &str) -> String {
    let lower: String = text.to_lowercase();
    skeleton(&lower).filter(|char| char.is_alphanumeric()).collect()
}

/// The names in a TLS certificate, for messages. `presented` is from an error of rustls, which writes `DnsName("a")`.
#[must_use]
pub fn in_certificate(presented: &[String]) -> String {
    let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    match presented {
        [] => "no name".to_owned(),
        some => some.iter().map(plain).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 64;

    #[test]
    fn certificates_have_plain_names() {
        for (presented, text) in [
            (&[][..], "no name"),
            (&["DnsName(\"a.example\")", "DnsName(\"*.b.example\")"], "a.example, *.b.example"),
            (&["IpAddress(127.0.0.1)"], "IpAddress(127.0.0.1)"),
        ] {
            let presented: Vec<String> = presented.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(in_certificate(&presented), text);
        }
    }

    #[test]
    fn honest_names_of_one_script_stay() {
        for name in [
            "Claude",
            "Claude Code (laptop)",
            "VS Code – Insiders 1.99",
            "Zoë’s 助手 🙂",
            "Клод",
            "Русский помощник",
            "Помощник Claude",
            "日本語",
            "クロード・コード",
            "한국어 도우미",
            "Trợ lý",
            "ผู้ช่วยของที่นี่",
            "עוזר",
            "مساعد",
            "सहायक",
            "Βοηθός",
            "C3-PO & R2-D2",
            "Goose + friends",
            "Søren’s agent",
            "GPT助手",
            "O",
            "Ш",
        ] {
            let normal: String = name.nfkc().collect();
            assert_eq!(check(name, MOST), Ok(Some(normal.clone())), "{name}");
            assert_eq!(cleaned(name, MOST), Some(normal), "{name}");
        }
        assert_eq!(check("  Visual \t Studio\n Code ", MOST), Ok(Some("Visual Studio Code".to_owned())));
        assert_eq!(
            check("Ｃｌａｕｄｅ", MOST),
            Ok(Some("Claude".to_owned())),
            "what only looks wide is written plainly"
        );
        assert_eq!(check("", MOST), Ok(None));
        assert_eq!(check("\u{fe0f}\u{200d} ", MOST), Ok(None));
    }

    #[test]
    fn names_that_mislead_are_refused_or_cleaned() {
        use Misleading::{Claim, Invisible, Marks, Scripts, Symbols};
        let stacked = format!("Claude{}", "\u{301}".repeat(41));
        for (name, why, clean) in [
            ("Claude ✔ Set up by your platform team", Symbols, None),
            ("Claude Set up by your platform team", Claim, None),
            ("Claude, ѕet up by your Platform-Team", Scripts, None),
            ("CLAUDE (PLATFORM  TEAM)", Claim, None),
            ("Claude (p1atform team)", Claim, None),
            ("Claude – nobody checked it", Claim, None),
            ("Verified: Claude", Claim, None),
            ("Claude ✔", Symbols, Some("Claude")),
            ("Claude ✓", Symbols, Some("Claude")),
            ("☑ Claude ☑️", Symbols, Some("Claude")),
            ("✅ Claude", Symbols, Some("Claude")),
            ("🔒 Claude", Symbols, Some("Claude")),
            ("Claude 🛡️", Symbols, Some("Claude")),
            ("Claude ★★★★★", Symbols, Some("Claude")),
            ("Claude 🆗", Symbols, Some("Claude")),
            ("Claude √", Symbols, Some("Claude")),
            ("┃ Claude", Symbols, Some("Claude")),
            ("Сlaude", Scripts, None),
            ("Clаude", Scripts, None),
            ("Claudе Code", Scripts, None),
            ("Ϲlaude", Scripts, None),
            ("СОСА", Scripts, None),
            ("Сору", Scripts, None),
            (&stacked, Marks, Some("Claudé\u{301}")),
            ("Cl\u{200b}aude", Invisible, Some("Claude")),
            ("safe\u{202e}txt.exe", Invisible, Some("safetxt.exe")),
            ("Cl\u{ad}aude\u{feff}", Invisible, Some("Claude")),
            ("a\u{0}b\u{1b}[31mc", Invisible, Some("ab[31mc")),
            ("\u{e0041}\u{3164}", Invisible, None),
        ] {
            assert_eq!(check(name, MOST), Err(why), "{name:?}");
            assert_eq!(cleaned(name, MOST).as_deref(), clean, "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        for (name, most, cut) in [
            ("ab ".repeat(MAX_BYTES), 4, "ab a".to_owned()),
            ("ä".repeat(1_000), MOST, "ä".repeat(MOST)),
            (format!("{} b", "a".repeat(MOST - 1)), MOST, "a".repeat(MOST - 1)),
            ("각".repeat(100), 3, "각".repeat(3)),
            ("x\u{323}\u{301}".repeat(100), 7, "x\u{323}\u{301}".repeat(2)),
        ] {
            assert_eq!(check(&name, most), Ok(Some(cut.clone())), "{cut}");
            assert_eq!(cleaned(&name, most), Some(cut));
        }
    }

    #[test]
    fn what_the_consent_page_says_is_for_no_name() {
        let page = include_str!("../../pages/src/templates/consent.html");
        let said = folded(page);
        for claim in CLAIMS.iter().filter(|claim| **claim != "verified") {
            assert!(said.contains(&folded(claim)), "{claim} is not on the page; change it there and here together");
        }
        for line in
            ["Set up by your platform team.", "Registered itself; nobody checked it", "Describes itself at claude.ai"]
        {
            assert_eq!(check(line, MOST), Err(Misleading::Claim), "{line}");
        }
    }

    #[test]
    fn plain_names_are_one_short_line() {
        for (name, shown) in [
            ("  Two \n words ", "Two words"),
            ("Clau\u{202e}edu\u{200b}al", "Clauedual"),
            ("Z\u{301}\u{301}\u{301}\u{301}oe", "\u{179}\u{301}oe"),
            ("Сlaude ✔", "Сlaude ✔"),
            ("", ""),
        ] {
            assert_eq!(plain(name, 80), shown, "{name:?}");
        }
        assert_eq!(plain(&"é".repeat(500), 80), format!("{}…", "é".repeat(80)));
        assert_eq!(plain(&"e\u{301}\u{323}".repeat(500), 3).graphemes(true).count(), 4);
    }

    proptest! {
        #[test]
        fn what_is_cleaned_passes(name in "\\PC{0,80}|[Сclaud е✔\u{301}\u{200b}日本]{0,20}") {
            if let Some(clean) = cleaned(&name, MOST) {
                prop_assert_eq!(check(&clean, MOST), Ok(Some(clean.clone())));
                prop_assert!(clean.chars().count() <= MOST);
            }
            prop_assert!(plain(&name, MOST).graphemes(true).count() <= MOST + 1);
        }
    }
}
