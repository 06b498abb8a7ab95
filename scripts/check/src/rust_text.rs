//! Rust source as text: what is code, and what is only said about it.
//!
//! Not a parser: it tells comments, strings and character literals from the rest, which is enough to look for words.

/// The text without comments and without the contents of string and character literals.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skipped = skipped_len(rest, code.chars().next_back());
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    code
}

/// Whether `code`, as [`code_of`] returns it, has a word.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    code.split(|character: char| !is_word(character)).any(|found| found == word)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Bytes of the comment or literal at the start of `rest`, or 0. `before` is the character of code before it.
fn skipped_len(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_len(rest)
    } else if rest.starts_with('"') {
        quoted_len(rest, '"')
    } else if rest.starts_with('\'') {
        character_len(rest)
    } else if before.is_none_or(|before| !is_word(before)) {
        raw_string_len(rest)
    } else {
        0
    }
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut index = 0;
    while index < text.len() {
        let rest = &text[index..];
        if rest.starts_with("/*") {
            depth += 1;
            index += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            index += 2;
            if depth == 0 {
                return index;
            }
        } else {
            index += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Bytes up to the closing `quote`, which a backslash escapes.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return index + character.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// A character literal; a lifetime, which begins alike, is code.
fn character_len(text: &str) -> usize {
    let mut characters = text.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => quoted_len(text, '\''),
        (Some(character), Some('\'')) => 2 + character.len_utf8(),
        _ => 0,
    }
}

/// A raw string, or a raw byte or C string.
fn raw_string_len(text: &str) -> usize {
    let Some(after_r) = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix)) else { return 0 };
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let Some(contents) = after_r[hashes..].strip_prefix('"') else { return 0 };
    let close = format!("\"{}", "#".repeat(hashes));
    match contents.find(&close) {
        Some(end) => text.len() - contents.len() + end + close.len(),
        None => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_unsafe(text: &str) -> bool {
        has_word(&code_of(text), "unsafe")
    }

    #[test]
    fn words_in_code_are_seen() {
        assert!(has_unsafe("fn f() { unsafe { g() } }"));
        assert!(has_unsafe("/* no */ unsafe impl Sync for X {}"));
        assert!(has_unsafe("#[unsafe(no_mangle)]"));
    }

    #[test]
    fn words_in_comments_strings_and_names_are_not() {
        assert!(!has_unsafe("// unsafe\n#![forbid(unsafe_code)]\nlet s = \"unsafe \\\" unsafe\"; /* unsafe */"));
        assert!(!has_unsafe("/* /* unsafe */ unsafe */"));
        assert!(!has_unsafe("let s = r#\"a \" unsafe\"#;"));
        assert!(!has_unsafe("let s = br\"unsafe\\\";"));
    }

    #[test]
    fn quotes_in_character_literals_open_no_string() {
        assert!(has_unsafe("let c = '\"'; unsafe { f() } // \""));
        assert!(has_unsafe("let c = '\\''; unsafe { f() } // '"));
        assert!(has_unsafe("let c = b'\\\\'; unsafe { f() }"));
    }

    #[test]
    fn lifetimes_are_code() {
        assert!(has_unsafe("fn f<'a>(x: &'a str) { unsafe { g::<'a>() } }"));
    }

    #[test]
    fn an_identifier_that_ends_in_r_begins_no_raw_string() {
        assert!(has_unsafe("for_each!(var\"x\" unsafe)"));
    }

    #[test]
    fn what_does_not_end_is_skipped_to_the_end() {
        assert!(!has_unsafe("\"unsafe"));
        assert!(!has_unsafe("/* unsafe"));
        assert!(!has_unsafe("r#\"unsafe\""));
    }
}
