//! As much JSON (RFC 8259) as a small tool needs: an object with exactly one member, which is a string, and strings on
//! the way out. A tool that reads more takes a crate such as `serde_json`.

use std::fmt::Write;

type Problem = &'static str;

struct Reader<'text> {
    rest: std::str::Chars<'text>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.as_str().trim_start_matches(&[' ', '\t', '\n', '\r'][..]).chars();
    }

    fn expect(&mut self, wanted: char) -> Result<(), Problem> {
        self.skip_space();
        match self.rest.next() {
            Some(next) if next == wanted => Ok(()),
            _ => Err("the input is not a JSON object with the one member that is asked for"),
        }
    }

    fn four_hex_digits(&mut self) -> Result<u32, Problem> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.rest.next().and_then(|next| next.to_digit(16));
            value = value * 16 + digit.ok_or("the input has a \\u without four hexadecimal digits")?;
        }
        Ok(value)
    }

    /// Behind `\u`. A high surrogate stands only before a low one, and a low one only behind a high one.
    fn unicode_escape(&mut self) -> Result<char, Problem> {
        let lone = "the input has a lone surrogate";
        let first = self.four_hex_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(lone);
        }
        if self.rest.next() != Some('\\') || self.rest.next() != Some('u') {
            return Err(lone);
        }
        let second = self.four_hex_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(lone)
    }

    fn escape(&mut self) -> Result<char, Problem> {
        match self.rest.next() {
            Some(same @ ('"' | '\\' | '/')) => Ok(same),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => self.unicode_escape(),
            _ => Err("the input has an unknown escape"),
        }
    }

    fn string(&mut self) -> Result<String, Problem> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(plain) if plain >= ' ' => text.push(plain),
                _ => return Err("the input has a string that does not end, or a control character in it"),
            }
        }
    }
}

/// The value of the only member of the object in `input`.
pub fn read_only_member(name: &str, input: &str) -> Result<String, Problem> {
    let mut reader = Reader { rest: input.chars() };
    reader.expect('{')?;
    if reader.string()? != name {
        return Err("the input has another member than the one that is asked for");
    }
    reader.expect(':')?;
    let value = reader.string()?;
    reader.expect('}')?;
    reader.skip_space();
    match reader.rest.next() {
        None => Ok(value),
        Some(_) => Err("the input goes on behind the JSON object"),
    }
}

/// A JSON string, each character in its one shortest form; U+2028 and U+2029 escaped, as they end a line in some languages.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(quoted, "\\u{:04x}", character as u32);
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
