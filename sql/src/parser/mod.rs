//! Text to statements, once.

/// One statement of a query string.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement's own text.
    pub text: String,
}
