//! The search path: from the setting's text to schema names.

/// Names of a search path as written: identifiers, quoted or folded, separated by commas.
pub fn parse(text: &str, user: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    let mut was_quoted = false;
    let mut chars = text.chars().peekable();
    let mut push = |name: &mut String, was_quoted: &mut bool| {
        let text =
            if *was_quoted { std::mem::take(name) } else { std::mem::take(name).trim().to_lowercase() };
        let name = if text == "$user" { user.to_string() } else { text };
        *was_quoted = false;
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                current.push('"');
            }
            '"' => {
                quoted = !quoted;
                if quoted {
                    current.clear();
                }
                was_quoted = true;
            }
            ',' if !quoted => push(&mut current, &mut was_quoted),
            c if was_quoted && !quoted && c.is_whitespace() => {}
            c => current.push(c),
        }
    }
    push(&mut current, &mut was_quoted);
    names
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_are_folded_and_unquoted() {
        assert_eq!(parse("\"$user\", public", "me"), ["me", "public"]);
        assert_eq!(parse("A, \"B c\" ,\"d\"\"e\"", "me"), ["a", "B c", "d\"e"]);
        assert!(parse("", "me").is_empty());
    }
}
