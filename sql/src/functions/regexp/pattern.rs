//! Regular expressions of Postgres (manual 9.7.3, "advanced" ones) as those of the `regex` crate.
//!
//! Back references and lookaround, which that crate has not, are refused. Of alternatives that match at
//! the same place it takes the first, Postgres the longest.

use datafusion::error::{DataFusionError, Result};
use regex::{Regex, RegexBuilder};

use crate::functions::function::error;

/// Options of a regular expression (manual, table 9.24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    pub global: bool,
    pub ignore_case: bool,
    /// `.` and `[^…]` match no line feed.
    lines: bool,
    /// `^` and `$` match at lines.
    anchors: bool,
    extended: bool,
    literal: bool,
}

impl Options {
    /// Fails with 22023 for an unknown one.
    pub fn read(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for c in text.chars() {
            options
                .set(c)
                .map_err(|()| error("22023", format!("invalid regular expression option: \"{c}\"")))?;
        }
        Ok(options)
    }

    fn set(&mut self, option: char) -> std::result::Result<(), ()> {
        match option {
            'g' => self.global = true,
            'i' => self.ignore_case = true,
            'c' => self.ignore_case = false,
            'n' | 'm' => (self.lines, self.anchors) = (true, true),
            'p' => (self.lines, self.anchors) = (true, false),
            's' => (self.lines, self.anchors) = (false, false),
            'w' => (self.lines, self.anchors) = (false, true),
            'x' => self.extended = true,
            't' => self.extended = false,
            'q' => self.literal = true,
            'e' => {}
            _ => return Err(()),
        }
        Ok(())
    }
}

fn invalid(why: &str) -> DataFusionError {
    error("2201B", format!("invalid regular expression: {why}"))
}

fn unsupported(what: &str) -> DataFusionError {
    error("0A000", format!("regular expressions with {what} are not supported"))
}

/// The expression, ready to be searched for. Fails with 2201B, and 0A000 for what is not supported.
pub fn compile(pattern: &str, options: Options) -> Result<Regex> {
    let (translated, _) = translate(pattern, options)?;
    RegexBuilder::new(&translated).size_limit(1 << 24).build().map_err(|e| invalid(&reason(&e)))
}

fn reason(e: &regex::Error) -> String {
    let text = e.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_string()
}

/// The expression in the syntax of the `regex` crate, its options at its beginning.
pub fn translate(pattern: &str, mut options: Options) -> Result<(String, Options)> {
    let mut rest = pattern.strip_prefix("***:").unwrap_or(pattern);
    if let Some(literal) = pattern.strip_prefix("***=") {
        rest = literal;
        options.literal = true;
    } else if let Some((embedded, after)) = embedded(rest) {
        rest = after;
        for c in embedded.chars() {
            options.set(c).map_err(|()| invalid("invalid embedded option"))?;
        }
    }
    let body = if options.literal {
        regex::escape(rest)
    } else {
        let mut translation =
            Translation { chars: rest.chars().collect(), at: 0, out: String::new(), lines: options.lines };
        translation.run()?;
        translation.out
    };
    // Only where it matters, so that simple expressions can still be planned as LIKE.
    let mut flags = String::new();
    for (flag, wanted) in [
        ('s', !options.lines && rest.contains('.')),
        ('m', options.anchors),
        ('i', options.ignore_case),
        ('x', options.extended),
    ] {
        if wanted {
            flags.push(flag);
        }
    }
    let translated = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
    Ok((translated, options))
}

/// Options in parentheses at the beginning, and what follows.
fn embedded(pattern: &str) -> Option<(&str, &str)> {
    let (letters, after) = pattern.strip_prefix("(?")?.split_once(')')?;
    let plain = !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    plain.then_some((letters, after))
}

struct Translation {
    chars: Vec<char>,
    at: usize,
    out: String,
    lines: bool,
}

impl Translation {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn run(&mut self) -> Result<()> {
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '{' if !self.peek(0).is_some_and(|c| c.is_ascii_digit()) => self.out.push_str("\\{"),
                '}' if !self.out_ends_bound() => self.out.push_str("\\}"),
                '(' if self.peek(0) == Some('?') => match self.peek(1) {
                    Some(':') => self.out.push('('),
                    Some('=' | '!' | '<') => return Err(unsupported("lookaround")),
                    _ => return Err(invalid("quantifier operand invalid")),
                },
                c => self.out.push(c),
            }
        }
        Ok(())
    }

    /// Whether an opened `{1,2` is being closed.
    fn out_ends_bound(&self) -> bool {
        let inner = self.out.trim_end_matches(|c: char| c.is_ascii_digit() || c == ',');
        inner.len() < self.out.len() && inner.ends_with('{') && !inner.ends_with("\\{")
    }

    fn escape(&mut self) -> Result<()> {
        let Some(c) = self.peek(0) else {
            return Err(invalid("invalid escape \\ sequence"));
        };
        self.at += 1;
        match c {
            'y' => self.out.push_str("\\b"),
            'Y' => self.out.push_str("\\B"),
            'm' => self.out.push_str("\\b{start}"),
            'M' => self.out.push_str("\\b{end}"),
            'A' => self.out.push_str("\\A"),
            'Z' => self.out.push_str("\\z"),
            '1'..='9' => return Err(unsupported("back references")),
            other => self.character(other)?,
        }
        Ok(())
    }

    /// An escape that stands for characters, also within brackets.
    fn character(&mut self, c: char) -> Result<()> {
        match c {
            'd' | 'w' | 's' | 'D' | 'W' | 'S' | 'f' | 'n' | 'r' | 't' | 'v' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'a' => self.out.push_str("\\x07"),
            'b' => self.out.push_str("\\x08"),
            'e' => self.out.push_str("\\x1B"),
            'B' => self.out.push_str("\\\\"),
            '0' => self.out.push_str("\\x00"),
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            'x' => self.code(0)?,
            'c' => {
                let control = self.peek(0).ok_or_else(|| invalid("invalid escape \\ sequence"))?;
                self.at += 1;
                self.out.push_str(&format!("\\x{{{:x}}}", u32::from(control) & 31));
            }
            c if c.is_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
            c => self.literal(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// Hexadecimal digits: so many, or (0) as many as there are.
    fn code(&mut self, wanted: usize) -> Result<()> {
        let mut digits = String::new();
        while let Some(digit) = self.peek(0).filter(char::is_ascii_hexdigit) {
            if wanted > 0 && digits.len() == wanted {
                break;
            }
            self.at += 1;
            digits.push(digit);
        }
        if digits.is_empty() || digits.len() < wanted || digits.len() > 8 {
            return Err(invalid("invalid escape \\ sequence"));
        }
        self.out.push_str(&format!("\\x{{{digits}}}"));
        Ok(())
    }

    fn bracket(&mut self) -> Result<()> {
        let rest: String = self.chars.iter().skip(self.at).take(7).collect();
        for (word, boundary) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            if rest.starts_with(word) {
                self.at += word.len();
                self.out.push_str(boundary);
                return Ok(());
            }
        }
        self.out.push('[');
        let negated = self.peek(0) == Some('^');
        if negated {
            self.at += 1;
            self.out.push_str(if self.lines { "^\\n" } else { "^" });
        }
        let mut first = true;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => {
                    let c = self.peek(0).ok_or_else(|| invalid("brackets [] not balanced"))?;
                    self.at += 1;
                    self.character(c)?;
                }
                '[' if self.peek(0) == Some(':') => self.class()?,
                '[' if matches!(self.peek(0), Some('.' | '=')) => {
                    return Err(unsupported("collating elements"));
                }
                // What means more to the other syntax.
                ']' | '[' | '&' | '~' | '#' | ' ' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '-' if self.peek(0) == Some(']') || first => self.out.push_str("\\-"),
                c => self.out.push(c),
            }
            first = false;
        }
        Err(invalid("brackets [] not balanced"))
    }

    /// `[:alpha:]`.
    fn class(&mut self) -> Result<()> {
        let rest: String = self.chars.iter().skip(self.at + 1).collect();
        let (name, _) = rest.split_once(":]").ok_or_else(|| invalid("invalid character class"))?;
        let class = match name {
            "alpha" => "\\p{Alphabetic}",
            "upper" => "\\p{Uppercase}",
            "lower" => "\\p{Lowercase}",
            "digit" => "\\d",
            "alnum" => "\\p{Alphabetic}\\d",
            "space" => "\\s",
            "word" => "\\w",
            "blank" | "cntrl" | "graph" | "print" | "punct" | "xdigit" | "ascii" => {
                self.out.push_str(&format!("[:{name}:]"));
                self.at += name.chars().count() + 3;
                return Ok(());
            }
            _ => return Err(invalid("invalid character class")),
        };
        self.out.push_str(class);
        self.at += name.chars().count() + 3;
        Ok(())
    }
}

/// The regular expression of a `SIMILAR TO` pattern (manual 9.7.2); `escape`: `None`: there is no escape
/// character. Fails with 22025 for a pattern that ends with it.
pub fn of_similar(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut out = String::from("^(?:");
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let c = chars.next().ok_or_else(|| error("22025", "invalid escape sequence"))?;
            if !c.is_alphanumeric() {
                out.push('\\');
            }
            out.push(c);
            continue;
        }
        match c {
            ']' if in_brackets => {
                in_brackets = false;
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            c if in_brackets => out.push(c),
            '[' => {
                in_brackets = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Options, compile, of_similar};

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern, Options::default()).unwrap().is_match(text)
    }

    #[test]
    fn postgres_syntax() {
        assert!(matches("a.b", "a\nb"));
        assert!(!matches("(?n)a.b", "a\nb"));
        assert!(matches("\\yfoo\\y", "a foo b"));
        assert!(!matches("\\mfoo\\M", "foobar"));
        assert!(matches("[[:digit:]]+[]x]", "12]"));
        assert!(matches("[a&&b]", "&"));
        assert!(matches("a{2}", "aa") && matches("a{x}", "a{x}"));
        assert!(matches("(?i)ABC", "abc") && matches("***=a.c", "a.c") && !matches("***=a.c", "abc"));
        assert!(matches("\\bx", "\u{8}x"));
    }

    #[test]
    fn what_is_refused() {
        let code = |pattern: &str| {
            crate::error::Error::from(compile(pattern, Options::default()).unwrap_err()).code.0
        };
        assert_eq!(code("(a"), "2201B");
        assert_eq!(code("[a"), "2201B");
        assert_eq!(code("a\\"), "2201B");
        assert_eq!(code("(a)\\1"), "0A000");
        assert_eq!(code("a(?=b)"), "0A000");
        assert!(Options::read("z").is_err());
    }

    #[test]
    fn similar_to() {
        let similar = |pattern: &str, text: &str| matches(&of_similar(pattern, Some('\\')).unwrap(), text);
        assert!(similar("%(b|d)%", "abc") && !similar("(b|c)%", "abc"));
        assert!(similar("a.c", "a.c") && !similar("a.c", "abc"));
        assert!(similar("a\\+b", "a+b") && similar("a{2}b", "aab") && similar("[a-c]_", "bz"));
    }
}
