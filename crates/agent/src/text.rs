//! UTF-8 (RFC 3629) in pieces: a cut may split a character.

/// Removes an incomplete character at the end.
pub(super) fn without_cut_end(bytes: &[u8]) -> &[u8] {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let whole = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        if whole > back + 1 {
            return bytes.split_at(bytes.len() - back - 1).0;
        }
        break;
    }
    bytes
}

/// Removes an incomplete character at the start.
pub(super) fn without_cut_start(bytes: &[u8]) -> &[u8] {
    let cut = bytes.iter().take(3).take_while(|byte| (**byte & 0b1100_0000) == 0b1000_0000).count();
    bytes.split_at(cut).1
}

/// Removes an incomplete line at the end, unless it is most of the text.
pub(super) fn without_cut_line(bytes: &[u8]) -> &[u8] {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) if end >= bytes.len() / 2 => bytes.split_at(end + 1).0,
        _ => bytes,
    }
}

/// Removes an incomplete line at the start, unless it is most of the text.
pub(super) fn from_whole_line(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end < bytes.len() / 2 => bytes.split_at(end + 1).1,
        _ => bytes,
    }
}

/// Decodes a stream of byte chunks to text.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The start of a character that has not arrived completely.
    cut: Vec<u8>,
}

impl Decoder {
    /// Decodes the complete characters. Invalid UTF-8 is replaced.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let whole = without_cut_end(&all).len();
        self.cut = all.split_off(whole);
        String::from_utf8_lossy(&all).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_is_left_out() {
        for (bytes, end, start) in [
            (&b""[..], &b""[..], &b""[..]),
            (b"abc", b"abc", b"abc"),
            ("aé".as_bytes(), "aé".as_bytes(), "aé".as_bytes()),
            (b"a\xc3", b"a", b"a\xc3"),
            (b"a\xe2\x82", b"a", b"a\xe2\x82"),
            ("a€".as_bytes(), "a€".as_bytes(), "a€".as_bytes()),
            (b"a\xf0\x9f\x98", b"a", b"a\xf0\x9f\x98"),
            (b"\x82\xacb", b"\x82\xacb", b"b"),
            (b"a\xff", b"a\xff", b"a\xff"),
            (b"\x80\x80\x80\x80", b"\x80\x80\x80\x80", b"\x80"),
        ] {
            assert_eq!(without_cut_end(bytes), end, "{bytes:?}");
            assert_eq!(without_cut_start(bytes), start, "{bytes:?}");
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_text() {
        let text = "aé€😀 and on";
        for size in 1..8 {
            let mut decoder = Decoder::default();
            let together: String = text.as_bytes().chunks(size).map(|piece| decoder.decode(piece)).collect();
            assert_eq!(together, text, "{size}");
        }
    }
}
