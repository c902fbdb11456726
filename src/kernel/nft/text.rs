//! What `nft` prints, as tokens.

/// Splits a text into words, quoted strings, punctuation (`{`, `}`, `,`, `;`) and ends of lines.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for line in text.lines() {
        if !line.trim_start().starts_with('#') {
            tokens_of_line(line, &mut tokens);
        }
        tokens.push(END);
    }
    tokens
}

/// The end of a line.
pub(super) const END: &str = "\n";

fn tokens_of_line<'a>(line: &'a str, tokens: &mut Vec<&'a str>) {
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '}' | ',' | ';' => 1,
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            _ => rest
                .find(|c: char| c.is_whitespace() || "{},;\"".contains(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
}

/// Walks over tokens.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    tokens: &'a [&'a str],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(tokens: &'a [&'a str]) -> Self {
        Self { tokens }
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.tokens.first().copied()
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    /// Steps over `word`, if it is what comes next.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.next();
        }
        found
    }

    /// Steps over `words`; `None` where something else comes.
    pub(super) fn expect(&mut self, words: &[&str]) -> Option<()> {
        words.iter().all(|word| self.take(word)).then_some(())
    }

    /// Steps over `words`, if they are what comes next.
    pub(super) fn take_all(&mut self, words: &[&str]) -> bool {
        let found = self.tokens.starts_with(words);
        if found {
            self.tokens = self.tokens.get(words.len()..).unwrap_or_default();
        }
        found
    }

    pub(super) fn skip_ends(&mut self) {
        while self.take(END) || self.take(";") {}
    }

    /// What stands up to the end of the statement: of the line, but that what is in braces goes on.
    pub(super) fn statement(&mut self) -> &'a [&'a str] {
        let mut depth = 0_usize;
        let length = self
            .tokens
            .iter()
            .position(|token| match *token {
                "{" => {
                    depth += 1;
                    false
                }
                "}" if depth == 0 => true,
                "}" => {
                    depth -= 1;
                    false
                }
                END => depth == 0,
                _ => false,
            })
            .unwrap_or(self.tokens.len());
        let (statement, rest) = self.tokens.split_at(length);
        self.tokens = rest;
        statement
    }

    /// What stands in the braces that begin here; `None` where none begin or they do not end.
    pub(super) fn block(&mut self) -> Option<&'a [&'a str]> {
        if !self.take("{") {
            return None;
        }
        let mut depth = 0_usize;
        let length = self.tokens.iter().position(|token| match *token {
            "{" => {
                depth += 1;
                false
            }
            "}" if depth == 0 => true,
            "}" => {
                depth -= 1;
                false
            }
            _ => false,
        })?;
        let (block, rest) = self.tokens.split_at(length);
        self.tokens = rest;
        self.next();
        Some(block)
    }
}

/// Tokens as text again, lines kept apart.
pub(super) fn join(tokens: &[&str]) -> String {
    let mut text = String::new();
    for token in tokens {
        if !text.is_empty() && !text.ends_with('\n') && *token != END {
            text.push(' ');
        }
        text.push_str(token);
    }
    text.trim_matches(|c: char| c.is_whitespace()).to_owned()
}

/// Tokens as text again, in one line.
pub(super) fn join_line(tokens: &[&str]) -> String {
    let words: Vec<&str> = tokens
        .iter()
        .copied()
        .filter(|token| *token != END)
        .collect();
    words.join(" ")
}
