//! How words and text are written in the headers of test programs and in manifests.

/// A machine has no more processors than this.
const CPUS_MAX: u32 = 64;

/// Splits at blanks; single and double quotes keep everything between them.
pub(crate) fn words(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for byte in text.bytes() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), byte) => word.get_or_insert_default().push(byte),
            (None, b'\'' | b'"') => {
                word.get_or_insert_default();
                quote = Some(byte);
            }
            (None, b' ' | b'\t') => words.extend(word.take()),
            (None, byte) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(format!("a quote is not closed: {text}")) } else { Ok(words) }
}

/// Replaces `\n`, `\t`, `\\`, `\0` and `\xHH`.
pub(crate) fn text(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("bad escape in: {text}");
    let mut result = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            result.push(byte);
            continue;
        }
        result.push(match bytes.next().ok_or_else(bad)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'0' => 0,
            b'x' => {
                let digits = [bytes.next().ok_or_else(bad)?, bytes.next().ok_or_else(bad)?];
                let digits = std::str::from_utf8(&digits).map_err(|_| bad())?;
                u8::from_str_radix(digits, 16).map_err(|_| bad())?
            }
            _ => return Err(bad()),
        });
    }
    Ok(result)
}

/// Numbers of processors, each named once.
pub(crate) fn cpus(text: &str) -> Result<Vec<u32>, String> {
    let bad = || format!("not numbers of processors from 1 to {CPUS_MAX}: {text}");
    let mut counts = Vec::new();
    for word in text.split_ascii_whitespace() {
        let count = word.parse().ok().filter(|count| (1..=CPUS_MAX).contains(count)).ok_or_else(bad)?;
        if counts.contains(&count) {
            return Err(bad());
        }
        counts.push(count);
    }
    if counts.is_empty() { Err(bad()) } else { Ok(counts) }
}

/// The status a program should end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Whatever Linux gives.
    Any,
    /// This one, as a shell gives it.
    Status(i32),
}

impl Expected {
    /// Reads a number, `any` or the name of a signal.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const SIGNALS: [(&str, i32); 17] = [
            ("SIGHUP", 1),
            ("SIGINT", 2),
            ("SIGQUIT", 3),
            ("SIGILL", 4),
            ("SIGTRAP", 5),
            ("SIGABRT", 6),
            ("SIGBUS", 7),
            ("SIGFPE", 8),
            ("SIGKILL", 9),
            ("SIGUSR1", 10),
            ("SIGSEGV", 11),
            ("SIGUSR2", 12),
            ("SIGPIPE", 13),
            ("SIGALRM", 14),
            ("SIGTERM", 15),
            ("SIGXFSZ", 25),
            ("SIGSYS", 31),
        ];
        if text == "any" {
            return Ok(Self::Any);
        }
        let signal = SIGNALS.iter().find(|(name, _)| *name == text).map(|(_, number)| 128 + number);
        signal.or_else(|| text.parse().ok()).map(Self::Status).ok_or_else(|| format!("not a status: {text}"))
    }

    pub(crate) fn allows(self, status: i32) -> bool {
        match self {
            Self::Any => true,
            Self::Status(expected) => status == expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_of_quotes() {
        let split = |input| words(input).unwrap().into_iter().map(|word| String::from_utf8(word).unwrap());
        assert_eq!(split("a  'b c' \"\" d'e'\\n").collect::<Vec<_>>(), ["a", "b c", "", "de\\n"]);
        assert_eq!(split("").count(), 0);
        assert!(words("'a").is_err());
    }

    #[test]
    fn escapes_are_replaced() {
        assert_eq!(text(r"a\n\t\\\0\xff").unwrap(), b"a\n\t\\\0\xff");
        assert!(text(r"\q").is_err() && text(r"\x1").is_err() && text("\\").is_err());
    }

    #[test]
    fn numbers_of_processors_are_read() {
        assert_eq!(cpus(" 1 2  4"), Ok(vec![1, 2, 4]));
        for bad in ["", "0", "65", "1 1", "two"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn statuses_are_read() {
        assert_eq!(Expected::parse("any"), Ok(Expected::Any));
        assert_eq!(Expected::parse("255"), Ok(Expected::Status(255)));
        assert_eq!(Expected::parse("SIGSEGV"), Ok(Expected::Status(139)));
        assert!(Expected::parse("SIGWHAT").is_err());
    }
}
