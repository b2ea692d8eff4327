//! A shell's text as words, without a shell: quotes and backslashes, and nothing else of the language.

/// The words of `text`, as a shell would split them, with every `$` and every operator left as it stands. None where
/// the text is no plain list of words: a command substitution, or a quote that does not end.
pub fn split_shell(text: &str) -> Option<Vec<String>> {
    let words = scan(text, false)?.into_iter().filter_map(|piece| match piece {
        Piece::Word(word) => Some(word),
        Piece::Operator(_) | Piece::NewLine => None,
    });
    Some(words.collect())
}

/// The commands of a script, each as words; what is behind a pipe or a redirection is left out.
pub(super) fn commands(text: &str) -> Option<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    let mut reading = true;
    for piece in scan(text, true)? {
        match piece {
            Piece::Word(word) if reading => {
                if let Some(words) = commands.last_mut() {
                    words.push(word);
                }
            }
            Piece::Word(_) => {}
            Piece::Operator(operator) => {
                reading = matches!(operator.as_str(), "&&" | "||" | ";" | "&");
                if reading {
                    commands.push(Vec::new());
                }
            }
            Piece::NewLine => {
                reading = true;
                commands.push(Vec::new());
            }
        }
    }
    Some(commands)
}

enum Piece {
    Word(String),
    /// `&&`, `||`, `;`, `|`, `>`, `<`, `&` and those with more of the same.
    Operator(String),
    NewLine,
}

/// `script`: whether operators and comments are read as such, or are letters like any other.
fn scan(text: &str, script: bool) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            '\n' => {}
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        '`' => return None,
                        '$' if chars.peek() == Some(&'(') => return None,
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => match chars.next()? {
                '\n' => {}
                escaped => word.get_or_insert_default().push(escaped),
            },
            '`' => return None,
            '$' if chars.peek() == Some(&'(') => return None,
            '\n' => {
                pieces.extend(word.take().map(Piece::Word));
                pieces.push(Piece::NewLine);
            }
            c if c.is_ascii_whitespace() => pieces.extend(word.take().map(Piece::Word)),
            '#' if script && word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '&' | '|' | ';' | '<' | '>' if script => {
                let redirection = matches!(c, '<' | '>');
                let descriptor = word.as_ref().is_some_and(|w| w.chars().all(|c| c.is_ascii_digit()));
                if !(redirection && descriptor) {
                    pieces.extend(word.take().map(Piece::Word));
                }
                word = None;
                let mut operator = String::from(c);
                while let Some(next) = chars.next_if(|n| matches!(n, '&' | '|' | ';' | '<' | '>')) {
                    operator.push(next);
                }
                pieces.push(Piece::Operator(operator));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    pieces.extend(word.map(Piece::Word));
    Some(pieces)
}
