//! Finds where a JSON value ends in text that arrives in pieces.

use crate::plain_run::plain_run_len;

/// The most brackets that may be open at once in a [`BoundaryScanner`]: far above [`MAX_DEPTH`](crate::MAX_DEPTH), so that the end of a
/// value that is a little too deep is still found, and the lexer rejects the value.
pub const MAX_OPEN_BRACKETS: usize = 4096;

/// Finds the end of one value: an object or array ends where its bracket closes, a string at its closing quote, anything else before
/// the next comma, bracket or white space. It does not check what is in between.
///
/// ```
/// use pinlake_json::{Boundary, BoundaryScanner};
///
/// let mut scanner = BoundaryScanner::new(b'{');
/// assert_eq!(scanner.scan(br#"{"a": "}"#), Boundary::NotReached);
/// assert_eq!(scanner.scan(br#"]"}, {"#), Boundary::Reached { bytes: 3 });
/// ```
#[derive(Debug)]
pub struct BoundaryScanner {
    is_scalar: bool,
    /// The brackets that close what is open, the innermost last.
    open: Vec<u8>,
    is_in_string: bool,
    is_escaped: bool,
    /// Whether a line must not end within a string.
    checks_lines: bool,
}

/// What a [`BoundaryScanner`] found in a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The value continues after the piece.
    NotReached,
    /// The value ends behind this many bytes of the piece.
    Reached {
        /// The number of bytes.
        bytes: usize,
    },
    /// The brackets do not match, so the end of the value is unknown.
    Broken {
        /// Bytes of the piece up to the wrong one, inclusive.
        bytes: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl BoundaryScanner {
    /// A scanner for a value that begins with the byte `first`, which is part of the first piece.
    pub fn new(first: u8) -> Self {
        let is_scalar = !matches!(first, b'{' | b'[' | b'"');
        Self { is_scalar, open: Vec::new(), is_in_string: false, is_escaped: false, checks_lines: false }
    }

    /// A line end within a string, which JSON does not allow, is [`Boundary::Broken`]. Otherwise it is passed like any other byte.
    pub fn with_checked_lines(self) -> Self {
        Self { checks_lines: true, ..self }
    }

    /// Whether the value is a number or a word, which may end with its text.
    pub fn is_scalar(&self) -> bool {
        self.is_scalar
    }

    /// Scans the next piece of the text.
    pub fn scan(&mut self, piece: &[u8]) -> Boundary {
        let mut at = 0;
        while at < piece.len() {
            if self.is_in_string && !self.is_escaped {
                at += plain_run_len(&piece[at..]);
            }
            let Some(byte) = piece.get(at).copied() else { break };
            at += 1;
            if self.is_escaped {
                self.is_escaped = false;
                continue;
            }
            if self.is_in_string {
                match byte {
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    b'\n' if self.checks_lines => {
                        return Boundary::Broken { bytes: at, problem: "a line ends within a string" };
                    }
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.is_in_string = true,
                    b'{' | b'[' if self.open.len() >= MAX_OPEN_BRACKETS => {
                        return Boundary::Broken { bytes: at, problem: "it is nested too deep" };
                    }
                    // In ASCII `}` is two behind `{`, and `]` two behind `[`.
                    b'{' | b'[' => self.open.push(byte + 2),
                    b'}' | b']' if self.open.last() == Some(&byte) => {
                        self.open.pop();
                    }
                    b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if self.is_scalar => {
                        return Boundary::Reached { bytes: at - 1 };
                    }
                    b'}' | b']' => {
                        let problem = "a bracket closes that was not opened";
                        return Boundary::Broken { bytes: at, problem };
                    }
                    _ => {}
                }
            }
            if !self.is_scalar && !self.is_in_string && self.open.is_empty() {
                return Boundary::Reached { bytes: at };
            }
        }
        Boundary::NotReached
    }
}
