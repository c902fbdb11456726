//! Text for people in lines that fit a terminal.

/// So wide is a terminal taken to be, and so is what goes to a file or a pipe.
pub const WIDTH: usize = 80;

/// What goes on stands so far to the right of where it began.
const HANG: &str = "    ";

/// `words` in lines of at most [`WIDTH`] columns, each with its end; the first after `first`, the others after `next`.
///
/// Only spaces are broken at, and none within backticks: what stands there is to be copied. A word that is wider than
/// a line has a line of its own.
#[must_use]
pub fn wrapped(first: &str, next: &str, words: &str) -> String {
    let mut text = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words_of(words) {
        let length = line.chars().count() + 1 + word.chars().count();
        if !empty && length > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line.clear();
            line.push_str(next);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(&word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

/// The lines of `text`, those that are too wide broken, and what goes on of them indented by four; without the last end.
#[must_use]
pub fn fitted(text: &str) -> String {
    let mut lines = String::new();
    for line in text.split('\n') {
        if line.chars().count() <= WIDTH {
            lines.push_str(line);
            lines.push('\n');
            continue;
        }
        let words = line.trim_start_matches(' ');
        let indent = &line[..line.len() - words.len()];
        lines.push_str(&wrapped(indent, HANG, words));
    }
    lines.pop();
    lines
}

/// What is broken between: what stands in backticks is one, whatever it holds.
fn words_of(text: &str) -> Vec<String> {
    // A backtick that nothing closes is one like any other character.
    let closed = text.matches('`').count() / 2 * 2;
    let (mut words, mut word, mut seen) = (Vec::new(), String::new(), 0);
    for letter in text.chars() {
        if letter == '`' && seen < closed {
            seen += 1;
        }
        if letter == ' ' && seen % 2 == 0 {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(letter);
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_not_within_what_is_to_be_copied() {
        let text = format!(
            "note: {} see `tc class show dev wan0`, please",
            "ab ".repeat(21)
        );
        let fits = fitted(&text);
        assert_eq!(
            fits,
            format!(
                "note: {} see\n    `tc class show dev wan0`, please",
                "ab ".repeat(21)
            )
        );
        assert_eq!(fitted("short\n  and indented"), "short\n  and indented");
        assert_eq!(fitted(""), "");
    }

    #[test]
    fn nothing_is_lost_or_added() {
        let path = "/a/".repeat(40);
        let text = format!("  help: it`s in {path} {}", "of many words ".repeat(9));
        let fits = fitted(&text);
        assert_eq!(
            fits.split_whitespace().collect::<String>(),
            text.split_whitespace().collect::<String>()
        );
        for line in fits.lines().skip(1) {
            assert!(line.starts_with(HANG), "{fits}");
            assert!(
                line.chars().count() <= WIDTH || line.trim() == path,
                "{line}"
            );
        }
    }
}
