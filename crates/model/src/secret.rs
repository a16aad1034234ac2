//! Texts that nobody may see: they print as `«secret»`, have no other spelling, and are wiped when they go.

use crate::SECRET_MASK;
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Deref};
use zeroize::Zeroize;

/// A token, a password or a private key as text. Cannot be displayed; [`Secret::reveal`] is the one way to its text.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text, for who checks it, sends it or shows it the one time it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_MASK)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Without telling by its time where the first difference is.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        same_text(&self.0, &other.0)
    }
}

impl Eq for Secret {}

/// Compares two texts without telling by its time where the first difference is.
pub fn same_text(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// Something with a secret inside: it travels as it is, and prints as `«secret»`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Masked<T>(pub T);

impl<T> fmt::Debug for Masked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_MASK)
    }
}

/// Texts to be masked wherever they turn up, such as the values of a secret pillar: they do not print, and are wiped.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(Vec<String>);

impl From<Vec<String>> for Secrets {
    fn from(texts: Vec<String>) -> Self {
        Self(texts)
    }
}

impl Deref for Secrets {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times {SECRET_MASK}", self.0.len())
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Bytes with secrets in them, such as a recipe before it is sealed: they do not print, and are wiped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for SecretBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_MASK)
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_travels_and_compares_and_does_not_print() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret:?} {:?}", Masked("canary")), "«secret» «secret»");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"canary\"");
        assert_eq!(serde_json::from_str::<Secret>("\"canary\"").unwrap(), secret);
        for other in ["canarx", "canar", "canaryy", ""] {
            assert_ne!(secret, Secret::new(other));
        }
    }
}
