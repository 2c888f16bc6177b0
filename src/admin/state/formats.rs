//! Keys and values as JSON carries them: as text, in hexadecimal, in base64, as a counter, as a document.
//!
//! Nothing is lost: what a format cannot carry comes in base64, and beside each stands in which format it is. Pure.

use super::super::ApiError;
use super::super::body::suggest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// How keys are written, in queries and in answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyFormat {
    /// As UTF-8.
    Text,
    /// In hexadecimal.
    Hex,
    /// In base64.
    Base64,
}

/// How values are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ValueFormat {
    /// As text if it is one that people write, else as a counter if it has eight bytes, else in base64.
    Auto,
    /// As UTF-8.
    Text,
    /// In hexadecimal.
    Hex,
    /// In base64.
    Base64,
    /// As the number that `add` counts: eight bytes, little-endian, with a sign.
    Counter,
    /// As the JSON document that it is.
    Json,
}

const KEY_FORMATS: [(&str, KeyFormat); 3] =
    [("text", KeyFormat::Text), ("hex", KeyFormat::Hex), ("base64", KeyFormat::Base64)];

const VALUE_FORMATS: [(&str, ValueFormat); 6] = [
    ("auto", ValueFormat::Auto),
    ("text", ValueFormat::Text),
    ("hex", ValueFormat::Hex),
    ("base64", ValueFormat::Base64),
    ("counter", ValueFormat::Counter),
    ("json", ValueFormat::Json),
];

/// A key or a value as it stands in an answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ShownBytes {
    /// Text of any format.
    Text(String),
    /// A counter.
    Number(i64),
    /// A document, digit for digit.
    Document(Box<RawValue>),
}

impl KeyFormat {
    /// The format of this name.
    pub fn named(name: &str) -> Result<KeyFormat, ApiError> {
        chosen("key_format", name, &KEY_FORMATS)
    }

    /// The bytes that a text of this format means; `what` names it in the error.
    pub fn parse(self, what: &str, text: &str) -> Result<Bytes, ApiError> {
        let wrong = |format: &str, hint: &str| {
            ApiError::invalid(format!("The text of {what} is not {format}: \"{text}\"."), hint)
        };
        match self {
            KeyFormat::Text => Ok(Bytes::copy_from_slice(text.as_bytes())),
            KeyFormat::Hex => {
                from_hex(text).ok_or_else(|| wrong("hexadecimal", "Give two digits for each byte."))
            }
            KeyFormat::Base64 => from_base64(text)
                .ok_or_else(|| wrong("base64", "In a URL use \"-\" and \"_\" for \"+\" and \"/\".")),
        }
    }

    /// A key in this format, and the format's name.
    pub fn show(self, key: &[u8]) -> (ShownBytes, &'static str) {
        let shown = match self {
            KeyFormat::Text => as_text(key),
            KeyFormat::Hex => Some(as_hex(key)),
            KeyFormat::Base64 => None,
        };
        shown.unwrap_or_else(|| as_base64(key))
    }
}

impl ValueFormat {
    /// The format of this name.
    pub fn named(name: &str) -> Result<ValueFormat, ApiError> {
        chosen("value_format", name, &VALUE_FORMATS)
    }

    /// A value in this format, and the format's name.
    pub fn show(self, value: &[u8]) -> (ShownBytes, &'static str) {
        let shown = match self {
            ValueFormat::Auto => as_text(value).filter(|_| is_written(value)).or_else(|| as_counter(value)),
            ValueFormat::Text => as_text(value),
            ValueFormat::Hex => Some(as_hex(value)),
            ValueFormat::Base64 => None,
            ValueFormat::Counter => as_counter(value),
            ValueFormat::Json => {
                serde_json::from_slice(value).ok().map(|value| (ShownBytes::Document(value), "json"))
            }
        };
        shown.unwrap_or_else(|| as_base64(value))
    }
}

fn chosen<T: Copy>(parameter: &str, name: &str, formats: &[(&str, T)]) -> Result<T, ApiError> {
    if let Some((_, format)) = formats.iter().find(|(known, _)| *known == name) {
        return Ok(*format);
    }
    let names = formats.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    Err(ApiError::invalid(format!("\"{parameter}\" cannot be \"{name}\"."), suggest(name, &names)))
}

/// Whether it looks like something that was written: without control characters but for those of lines.
fn is_written(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !byte.is_ascii_control() || matches!(byte, b'\n' | b'\r' | b'\t'))
}

fn as_text(bytes: &[u8]) -> Option<(ShownBytes, &'static str)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some((ShownBytes::Text(text.to_owned()), "text"))
}

fn as_counter(bytes: &[u8]) -> Option<(ShownBytes, &'static str)> {
    let bytes = <[u8; 8]>::try_from(bytes).ok()?;
    Some((ShownBytes::Number(i64::from_le_bytes(bytes)), "counter"))
}

fn as_hex(bytes: &[u8]) -> (ShownBytes, &'static str) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    (ShownBytes::Text(digits.collect()), "hex")
}

fn as_base64(bytes: &[u8]) -> (ShownBytes, &'static str) {
    (ShownBytes::Text(STANDARD.encode(bytes)), "base64")
}

fn from_hex(text: &str) -> Option<Bytes> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty()).map(Bytes::from)
}

/// Base64 of the alphabet for URLs, without padding.
pub(super) fn base64_for_urls(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64 of either alphabet, padded or not.
pub(super) fn from_base64(text: &str) -> Option<Bytes> {
    const TOLERANT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, TOLERANT);
    let text = text.replace('+', "-").replace('/', "_");
    ENGINE.decode(text).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests;
