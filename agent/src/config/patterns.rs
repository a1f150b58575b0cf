// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Globs as the user writes them: checked and split here, matched in `targets`.
//!
//! `*` matches anything, slashes too; `?` one character; `[a-z]` a set; `{a,b}` either. The regular expressions of older
//! files of the other agents are turned into globs where that is exact, and refused otherwise.

use super::values::Refusal;

/// Globs separated by commas; commas inside braces and brackets belong to the glob.
pub(super) fn globs(text: &str) -> Result<Vec<String>, Refusal> {
    let mut globs = vec![String::new()];
    let mut open: Vec<char> = Vec::new();
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && open.is_empty() && !escaped {
            globs.push(String::new());
            continue;
        }
        globs.last_mut().expect("there is one from the start").push(c);
        match (c, open.last()) {
            _ if escaped => {}
            ('\\', _) => {
                escaped = true;
                continue;
            }
            (']', Some('[')) | ('}', Some('{')) => drop(open.pop()),
            (_, Some('[')) => {}
            ('[' | '{', _) => open.push(c),
            _ => {}
        }
        escaped = false;
    }
    if let Some(&open) = open.first() {
        return Err(Refusal::NotAGlob { part: text.to_owned(), open });
    }
    let globs: Vec<String> = globs.iter().map(|glob| glob.trim().to_owned()).filter(|glob| !glob.is_empty()).collect();
    if globs.is_empty() { Err(Refusal::Empty) } else { Ok(globs) }
}

/// One glob.
pub(super) fn glob(text: &str) -> Result<String, Refusal> {
    globs(text).map(|_| text.trim().to_owned())
}

/// The glob that matches what this regular expression finds, if it is made of letters, `.*`, `^`, `$` and outermost `|`.
pub(super) fn glob_of_pattern(pattern: &str) -> Result<String, Refusal> {
    if pattern.is_empty() {
        return Err(Refusal::Empty);
    }
    let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(pattern);
    let mut globs: Vec<String> = inner.split('|').map(simple).collect::<Result<_, _>>()?;
    Ok(if globs.len() == 1 { globs.remove(0) } else { format!("{{{}}}", globs.join(",")) })
}

fn simple(pattern: &str) -> Result<String, Refusal> {
    let (pattern, from_start) = pattern.strip_prefix('^').map_or((pattern, false), |rest| (rest, true));
    let to_end = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let pattern = if to_end { &pattern[..pattern.len() - 1] } else { pattern };
    let mut glob = String::from(if from_start { "" } else { "*" });
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '.' if characters.next_if_eq(&'*').is_some() => glob.push('*'),
            '.' if characters.next_if_eq(&'+').is_some() => glob.push_str("?*"),
            '.' => glob.push('?'),
            '\\' => match characters.next() {
                Some(literal) if !literal.is_alphanumeric() => push_literal(&mut glob, literal),
                _ => return Err(Refusal::NotASimplePattern),
            },
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return Err(Refusal::NotASimplePattern),
            literal => {
                if matches!(characters.peek(), Some('*' | '+' | '?' | '{')) {
                    return Err(Refusal::NotASimplePattern);
                }
                push_literal(&mut glob, literal);
            }
        }
    }
    if !to_end {
        glob.push('*');
    }
    while glob.contains("**") {
        glob = glob.replace("**", "*");
    }
    Ok(glob)
}

fn push_literal(glob: &mut String, literal: char) {
    if matches!(literal, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | ',') {
        glob.push('\\');
    }
    glob.push(literal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_split_at_outer_commas() {
        for (text, expected) in [
            ("*/server", vec!["*/server"]),
            ("*/a, */b", vec!["*/a", "*/b"]),
            ("/opt/{shop,pay}/*,/x", vec!["/opt/{shop,pay}/*", "/x"]),
            ("[a,b]x,y", vec!["[a,b]x", "y"]),
            ("a\\,b", vec!["a\\,b"]),
        ] {
            assert_eq!(globs(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn unclosed_globs_are_refused() {
        for (text, open) in [("/opt/{a,b", '{'), ("x[a-", '[')] {
            assert_eq!(globs(text), Err(Refusal::NotAGlob { part: text.to_owned(), open }));
        }
        assert_eq!(globs(" , "), Err(Refusal::Empty));
    }

    #[test]
    fn simple_patterns_become_globs() {
        for (pattern, expected) in [
            ("server", "*server*"),
            ("^/opt/app$", "/opt/app"),
            (".*", "*"),
            ("/usr/bin/.*", "*/usr/bin/*"),
            ("java|node$", "{*java*,*node}"),
            ("(java|node)", "{*java*,*node*}"),
            ("a\\.b", "*a.b*"),
        ] {
            assert_eq!(glob_of_pattern(pattern).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn other_patterns_are_refused() {
        for pattern in ["[a-z]+", "a+", "ab?", "(a|b)c", "\\d", "(?:^|/)x", "a{2}"] {
            assert_eq!(glob_of_pattern(pattern), Err(Refusal::NotASimplePattern), "{pattern}");
        }
    }
}
