//! A small scanner of Rust text: enough to tell code from comments and strings, and to find items.
//!
//! Knows no rule of this project, and no grammar beyond tokens and matching braces.

/// The text with comments and the insides of strings and characters made blank; every line stays
/// where it was, so that what is found has its number.
pub fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let length = opaque_length(rest, before).unwrap_or(0);
        let (piece, blank) = match length {
            0 => (&rest[..next.len_utf8()], false),
            length => (&rest[..length], true),
        };
        for character in piece.chars() {
            out.push(if blank && character != '\n' { ' ' } else { character });
        }
        before = piece.chars().next_back().unwrap_or(' ');
        rest = &rest[piece.len()..];
    }
    out
}

/// How long the comment, string or character literal is that starts here, if one does.
fn opaque_length(rest: &str, before: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if rest.starts_with('"') {
        return Some(string_length(rest));
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    let raw_prefix = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'));
    let raw = raw_prefix.filter(|_| !is_word(before))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if !raw[hashes..].starts_with('"') {
        return None;
    }
    let start = rest.len() - raw.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `None` for a lifetime, which has no closing quote.
fn character_length(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first != '\\' {
        let (at, closing) = characters.next()?;
        return (closing == '\'').then_some(at + 1);
    }
    characters.next()?;
    characters.find(|(_, character)| *character == '\'').map(|(at, _)| at + 1)
}

pub fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands as a whole word, by byte.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The number of the line that holds this byte, from 1.
pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function<'a> {
    pub name: &'a str,
    pub line: usize,
    pub lines: usize,
}

/// Every function of `code` (as `code_only` gives it) that has a body.
pub fn functions(code: &str) -> Vec<Function<'_>> {
    words(code, "fn").filter_map(|at| function_at(code, at)).collect()
}

fn function_at(code: &str, at: usize) -> Option<Function<'_>> {
    let after = code[at + 2..].trim_start();
    let name = &after[..after.find(|character| !is_word(character))?];
    if name.is_empty() {
        return None; // A function pointer's type.
    }
    let open = body_start(code, at)?;
    let close = matching_brace(code, open)?;
    let line = line_of(code, at);
    Some(Function { name, line, lines: line_of(code, close) - line + 1 })
}

/// The brace that opens the body; `None` if a `;` ends the item first. Round and square brackets
/// (`[u8; 4]`) are stepped over.
fn body_start(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, character) in code[from..].char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(from + at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that opens at `open` is closed.
fn matching_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, character) in code[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(open + at);
        }
    }
    None
}

/// The bodies of modules written out in place (`mod name { … }`), by the bytes that they take.
pub fn inline_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    let bodies = words(code, "mod").filter_map(|at| {
        let open = body_start(code, at)?;
        Some(open..matching_brace(code, open)?)
    });
    bodies.collect()
}

/// What is compiled for tests only.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TestOnly {
    /// Modules declared here that live in files of their own.
    pub modules: Vec<String>,
    /// Items with a body, by the bytes that they take.
    pub spans: Vec<std::ops::Range<usize>>,
}

/// Finds the items behind `#[cfg(test)]`. (`code_only` leaves attributes as they are, except for
/// the strings in them, so features are not told apart.)
pub fn test_only(code: &str) -> TestOnly {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let mut found = TestOnly::default();
    for (at, _) in code.match_indices(ATTRIBUTE) {
        let item = at + ATTRIBUTE.len();
        match body_start(code, item) {
            Some(open) => {
                let end = matching_brace(code, open).map_or(code.len(), |close| close + 1);
                found.spans.push(at..end);
            }
            None => found.modules.extend(module_declared(&code[item..])),
        }
    }
    found
}

fn module_declared(item: &str) -> Option<String> {
    let declaration = &item[..item.find(';')?];
    let name = &declaration[words(declaration, "mod").next()? + 3..];
    Some(name.trim().to_owned())
}
