//! Splits `ARGS` and `ENV` into words as a shell does, without expanding anything.

use crate::{Failure, Result};

/// Splits at blanks. Single quotes keep everything, double quotes keep all but `\"`, `\\`, `\$` and `` \` ``, a backslash
/// keeps the next byte.
///
/// # Errors
/// When a quote is not closed or the text ends in a backslash.
pub fn split(text: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\'' => quoted(&mut bytes, word.get_or_insert_default(), false)?,
            b'"' => quoted(&mut bytes, word.get_or_insert_default(), true)?,
            b'\\' => {
                let next = bytes.next().ok_or_else(|| Failure::new("a backslash at the end quotes nothing"))?;
                word.get_or_insert_default().push(next);
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote.
fn quoted(bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>, is_double: bool) -> Result<()> {
    let quote = if is_double { b'"' } else { b'\'' };
    while let Some(byte) = bytes.next() {
        if byte == quote {
            return Ok(());
        }
        if byte != b'\\' || !is_double {
            word.push(byte);
            continue;
        }
        let Some(next) = bytes.next() else { break };
        if !matches!(next, b'"' | b'\\' | b'$' | b'`') {
            word.push(b'\\');
        }
        word.push(next);
    }
    Err(Failure::new(format!("a {} quote is not closed", if is_double { "double" } else { "single" })))
}

#[cfg(test)]
mod tests {
    use super::split;

    fn words(text: &str) -> Vec<String> {
        split(text.as_bytes()).unwrap().into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("  a  b\tc\n"), ["a", "b", "c"]);
        assert_eq!(words("a'b c'd \"e  f\""), ["ab cd", "e  f"]);
        assert_eq!(words("'' \"\""), ["", ""]);
        assert_eq!(words(r#"a\ b "\"\\\$\`\n" '\'"#), ["a b", r#""\$`\n"#, "\\"]);
        assert_eq!(words("A=1 B='2 3'"), ["A=1", "B=2 3"]);
    }

    #[test]
    fn open_quotes_are_refused() {
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split(text.as_bytes()).is_err(), "{text}");
        }
    }
}
