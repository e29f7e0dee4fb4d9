//! Conversion of terminal output to plain text: removes control sequences (ECMA-48 §5.4, §5.6), and text that was
//! overwritten after a carriage return, such as all but the last step of a progress bar.

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Removes everything that is meaningful only to a terminal.
pub fn plain(text: &mut String) {
    if !text.contains([ESCAPE, '\r', '\u{8}', '\u{9b}']) {
        return;
    }
    let mut shown = String::with_capacity(text.len());
    // The start of the line, and whether a carriage return has moved the cursor back to it.
    let (mut line, mut back) = (0, false);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => skip_sequence(&mut rest),
            '\u{9b}' => skip_control(&mut rest),
            '\r' => back = true,
            '\u{8}' => {
                if shown.len() > line {
                    shown.pop();
                }
            }
            '\n' => {
                shown.push('\n');
                (line, back) = (shown.len(), false);
            }
            BELL => {}
            other => {
                if std::mem::take(&mut back) {
                    shown.truncate(line);
                }
                shown.push(other);
            }
        }
    }
    *text = shown;
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips the rest of an escape sequence, after the escape character.
fn skip_sequence(rest: &mut Rest<'_>) {
    match rest.next() {
        Some('[') => skip_control(rest),
        // Control strings, such as a window title: up to the terminator.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(character) = rest.next_if(|character| *character != '\n') {
                if character == BELL || character == ESCAPE && rest.next_if_eq(&'\\').is_some() {
                    break;
                }
            }
        }
        // Intermediate characters, then the final character.
        Some(' '..='/') => {
            while rest.next_if(|character| (' '..='/').contains(character)).is_some() {}
            rest.next_if(|character| ('0'..='~').contains(character));
        }
        _ => {}
    }
}

/// Skips the parameters, the intermediate characters and the final character of a control sequence.
fn skip_control(rest: &mut Rest<'_>) {
    while rest.next_if(|character| (' '..='?').contains(character)).is_some() {}
    rest.next_if(|character| ('@'..='~').contains(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_text_is_left() {
        for (output, expected) in [
            ("plain\ttext é\n", "plain\ttext é\n"),
            ("\u{1b}[1;31merror\u{1b}[0m: no\n", "error: no\n"),
            ("\u{1b}]0;title\u{7}$ \u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "$ link"),
            ("\u{1b}(Bx\u{1b}=y\u{1b}7z\u{9b}2Kw", "xyzw"),
            ("a\r\nb\r\n", "a\nb\n"),
            ("10%\r50%\r100%\ndone\n", "100%\ndone\n"),
            ("kept\r", "kept"),
            ("before\nab\u{8}c\u{8}\u{8}\u{8}\u{8}", "before\n"),
            ("cut\u{1b}", "cut"),
            ("cut\u{1b}[3", "cut"),
            ("\u{1b}]never ended\nnext", "\nnext"),
            ("\u{7}bell\u{1b}[K\r\u{1b}[Kline", "line"),
        ] {
            let mut text = output.to_owned();
            plain(&mut text);
            assert_eq!(text, expected, "{output:?}");
        }
    }
}
