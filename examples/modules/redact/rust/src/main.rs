//! Takes the e-mail addresses out of a text: `{"text":"Ask ada@example.com"}` in,
//! `{"text":"Ask [e-mail]","redacted":1}` and a newline out. The same tool stands in ../assemblyscript and ../go; all
//! three give the same bytes. The standard library alone, so that it builds without a registry.

mod json;

use std::io::{self, Read, Write};

type Problem = Box<dyn std::error::Error>;

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-'
}

/// The end of the domain that begins at `from`, without a full stop or hyphen at its end; none without a dot inside.
fn end_of_domain(text: &[u8], from: usize) -> Option<usize> {
    let length = text[from..].iter().take_while(|byte| is_domain(**byte)).count();
    let domain = &text[from..from + length];
    let kept = domain.iter().rposition(|byte| byte.is_ascii_alphanumeric())? + 1;
    (domain[0] != b'.' && domain[..kept].contains(&b'.')).then(|| from + kept)
}

/// The text with `[e-mail]` for each address, and how many there were.
fn redact(text: &str) -> (String, usize) {
    let bytes = text.as_bytes();
    let (mut output, mut copied, mut redacted) = (String::new(), 0, 0);
    for (sign, _) in text.match_indices('@') {
        if sign < copied {
            continue;
        }
        let local = bytes[copied..sign].iter().rev().take_while(|byte| is_local(**byte)).count();
        if local == 0 {
            continue;
        }
        if let Some(end) = end_of_domain(bytes, sign + 1) {
            output.push_str(&text[copied..sign - local]);
            output.push_str("[e-mail]");
            copied = end;
            redacted += 1;
        }
    }
    output.push_str(&text[copied..]);
    (output, redacted)
}

fn run() -> Result<(), Problem> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    let text = json::read_only_member("text", &String::from_utf8(input)?)?;
    let (text, redacted) = redact(&text);
    let quoted = json::quote(&text);
    Ok(io::stdout().write_all(format!("{{\"text\":{quoted},\"redacted\":{redacted}}}\n").as_bytes())?)
}

fn main() {
    if let Err(problem) = run() {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
