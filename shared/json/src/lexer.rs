//! The lexer of texts that are in memory as a whole.

use crate::escape::Escape;
use crate::plain_run::plain_run_len;

/// The most levels of objects and arrays in a text.
pub const MAX_DEPTH: usize = 128;

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the first wrong byte; the length of the text if the text ends too early.
    pub at: usize,
    /// What is wrong, or what was expected.
    pub problem: &'static str,
}

impl Malformed {
    /// The same error in a text that contains this one from byte `base` on.
    pub fn shifted(self, base: usize) -> Self {
        Self { at: base + self.at, ..self }
    }
}

/// The kind of a value, determined by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit
    Number,
    /// `t`
    True,
    /// `f`
    False,
    /// `n`
    Null,
}

/// What ends a run of characters in a string that represent themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// The closing quote. The lexer is behind it.
    Quote,
    /// An escape sequence. The lexer is at its backslash.
    Escape,
}

/// A cursor over JSON text.
///
/// Each method that reads something passes it. After an error the lexer must not be used any more.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`, which must be UTF-8: the lexer does not check that.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The offset of the next byte.
    #[inline]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The text that is still to be read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Passes `bytes` bytes that the caller has read itself from [`rest`](Self::rest).
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Passes white space; returns the first byte of the next token, which it does not pass.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let next = self.text.get(self.at).copied();
            // One comparison for nearly all tokens.
            if next.is_some_and(|byte| byte > b' ') || !matches!(next, Some(b' ' | b'\n' | b'\r' | b'\t')) {
                return next;
            }
            self.at += 1;
        }
    }

    /// Checks that nothing but white space follows.
    #[inline]
    pub fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_some() { Err(self.malformed("nothing may follow the value")) } else { Ok(()) }
    }

    /// Returns the kind of the next value, of which it passes nothing.
    #[inline]
    pub fn value_kind(&mut self) -> Result<ValueKind, Malformed> {
        Ok(match self.peek() {
            Some(b'"') => ValueKind::String,
            Some(b'-' | b'0'..=b'9') => ValueKind::Number,
            Some(b'{') => ValueKind::Object,
            Some(b'[') => ValueKind::Array,
            Some(b't') => ValueKind::True,
            Some(b'f') => ValueKind::False,
            Some(b'n') => ValueKind::Null,
            _ => return Err(self.malformed("expected a JSON value")),
        })
    }

    /// Passes the next value.
    pub fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.value_kind()? {
            ValueKind::Object => self.object(|lexer, _| {
                lexer.open_name()?;
                lexer.finish_string()?;
                lexer.colon()?;
                lexer.skip_value()
            }),
            ValueKind::Array => self.array(|lexer, _| lexer.skip_value()),
            ValueKind::String => {
                self.open_string();
                self.finish_string()
            }
            ValueKind::Number => self.number().map(|_| ()),
            ValueKind::True => self.literal("true"),
            ValueKind::False => self.literal("false"),
            ValueKind::Null => self.literal("null"),
        }
    }

    /// Passes the object that comes next. `member` must pass a name, a colon and a value each time; its second argument is true for
    /// the first member.
    #[inline]
    pub fn object<E: From<Malformed>>(
        &mut self,
        member: impl FnMut(&mut Self, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sequence(b'}', "expected ',' or '}'", member)
    }

    /// Passes the array that comes next. `element` must pass a value each time; its second argument is true for the first.
    #[inline]
    pub fn array<E: From<Malformed>>(
        &mut self,
        element: impl FnMut(&mut Self, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sequence(b']', "expected ',' or ']'", element)
    }

    #[inline]
    fn sequence<E: From<Malformed>>(
        &mut self,
        close: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("nested deeper than 128 levels").into());
        }
        self.depth += 1;
        // White space may precede the bracket.
        self.peek();
        self.at += 1;
        let mut is_first = true;
        if self.peek() != Some(close) {
            loop {
                item(self, is_first)?;
                is_first = false;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ => return Err(self.malformed(expected).into()),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Passes the opening quote of a member's name.
    #[inline]
    pub fn open_name(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed("expected a name in double quotes"));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the colon behind a member's name.
    #[inline]
    pub fn colon(&mut self) -> Result<(), Malformed> {
        if self.peek() != Some(b':') {
            return Err(self.malformed("expected ':'"));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the opening quote of a string, which the caller has seen.
    #[inline]
    pub fn open_string(&mut self) {
        self.at += 1;
    }

    /// Passes characters of a string that represent themselves, and the closing quote if that is what ends them.
    #[inline]
    pub fn plain_run(&mut self) -> Result<RunEnd, Malformed> {
        self.at += plain_run_len(self.rest());
        match self.text.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                Ok(RunEnd::Quote)
            }
            Some(b'\\') => Ok(RunEnd::Escape),
            Some(_) => Err(self.malformed("a control character must be escaped in a string")),
            None => Err(self.malformed("the string does not end")),
        }
    }

    /// Passes an escape sequence.
    #[inline]
    pub fn escape(&mut self) -> Result<Escape, Malformed> {
        let escape = Escape::parse(self.rest()).map_err(|problem| self.malformed(problem))?;
        self.at += escape.bytes;
        Ok(escape)
    }

    /// Passes what is left of a string, its closing quote included.
    #[inline]
    pub fn finish_string(&mut self) -> Result<(), Malformed> {
        while self.plain_run()? == RunEnd::Escape {
            self.escape()?;
        }
        Ok(())
    }

    /// Passes a number; returns its text.
    #[inline]
    pub fn number(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        // No digit may follow a leading zero.
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Malformed> {
        match self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(self.malformed("expected a digit")),
            count => {
                self.at += count;
                Ok(())
            }
        }
    }

    /// Passes `true`, `false` or `null`.
    #[inline]
    pub fn literal(&mut self, word: &'static str) -> Result<(), Malformed> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.malformed("expected a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// The error `problem` at this place.
    #[inline]
    pub fn malformed(&self, problem: &'static str) -> Malformed {
        Malformed { at: self.at, problem }
    }
}
