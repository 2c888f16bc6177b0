//! What a configuration value may be: its type, its range, and how its text is read.
//!
//! Shared by the server's keys and the topic keys, so that both refuse the same mistakes in the same
//! words. Pure: text in, value or sentence out.

use std::fmt;
use std::time::Duration;

/// The type and the range of one key's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// A whole number within bounds, both inclusive.
    Int {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
        /// The type Kafka gives it on the wire.
        width: Width,
    },
    /// A number within bounds, both inclusive.
    Float {
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Choices(&'static [&'static str]),
    /// Any text that is not empty.
    Text,
    /// Texts separated by commas, at least one.
    List,
}

/// Kafka's width of a whole number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
}

/// The type of a value as DescribeConfigs numbers it (`ConfigEntry.ConfigType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A 32-bit number.
    Int,
    /// A 64-bit number.
    Long,
    /// A number with a fraction.
    Double,
    /// Texts separated by commas.
    List,
}

impl WireType {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            WireType::Boolean => 1,
            WireType::String => 2,
            WireType::Int => 3,
            WireType::Long => 5,
            WireType::Double => 6,
            WireType::List => 7,
        }
    }
}

/// A value that its key's `Kind` has accepted.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A word or a text.
    Text(String),
    /// Words or texts in the order given.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Bool(flag) => flag.fmt(f),
            Value::Text(text) => f.write_str(text),
            Value::List(texts) => f.write_str(&texts.join(",")),
        }
    }
}

impl Value {
    /// The whole number of an `Int` key. The table says which keys are: another type is our bug.
    pub(super) fn as_i64(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => unreachable!("the key table says whole number, found {other:?}"),
        }
    }

    pub(super) fn as_f64(&self) -> f64 {
        match self {
            Value::Float(number) => *number,
            other => unreachable!("the key table says number, found {other:?}"),
        }
    }

    pub(super) fn as_bool(&self) -> bool {
        match self {
            Value::Bool(flag) => *flag,
            other => unreachable!("the key table says true or false, found {other:?}"),
        }
    }

    pub(super) fn as_text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            other => unreachable!("the key table says text, found {other:?}"),
        }
    }

    pub(super) fn as_list(&self) -> &[String] {
        match self {
            Value::List(texts) => texts,
            other => unreachable!("the key table says list, found {other:?}"),
        }
    }
}

impl Kind {
    /// A whole number of 32 bits from `min` on.
    pub(super) const fn int(min: i64) -> Kind {
        Kind::Int { min, max: i32::MAX as i64, width: Width::Int }
    }

    /// A whole number of 32 bits from `min` to `max`.
    pub(super) const fn int_within(min: i64, max: i32) -> Kind {
        Kind::Int { min, max: max as i64, width: Width::Int }
    }

    /// A whole number of 64 bits from `min` on.
    pub(super) const fn long(min: i64) -> Kind {
        Kind::Int { min, max: i64::MAX, width: Width::Long }
    }

    /// Reads the text, or says in half a sentence why it cannot be this key's value.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        match self {
            Kind::Int { min, max, .. } => parse_int(text, *min, *max).map(Value::Int),
            Kind::Float { min, max } => match text.parse::<f64>() {
                Ok(number) if number >= *min && number <= *max => Ok(Value::Float(number)),
                Ok(number) => Err(format!("{number} lies outside {min} to {max}")),
                Err(_) => Err(format!("\"{text}\" is not a number")),
            },
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("\"{text}\" is neither true nor false")),
            },
            Kind::Choice(words) => choose(words, text).map(Value::Text),
            Kind::Choices(words) => {
                let chosen =
                    split(text).iter().map(|word| choose(words, word)).collect::<Result<Vec<_>, _>>()?;
                at_least_one(chosen)
            }
            Kind::Text if text.is_empty() => Err("it must not be empty".to_owned()),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::List => at_least_one(split(text)),
        }
    }

    /// The type that DescribeConfigs reports.
    pub const fn wire_type(&self) -> WireType {
        match self {
            Kind::Int { width: Width::Int, .. } => WireType::Int,
            Kind::Int { width: Width::Long, .. } => WireType::Long,
            Kind::Float { .. } => WireType::Double,
            Kind::Bool => WireType::Boolean,
            Kind::Choice(_) | Kind::Text => WireType::String,
            Kind::Choices(_) | Kind::List => WireType::List,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Int { min, max, .. } => match (*min, *max) {
                (min, i64::MAX) => write!(f, "whole number from {min}"),
                (min, max) if max == i64::from(i32::MAX) => write!(f, "whole number from {min}"),
                (min, max) => write!(f, "whole number, {min} to {max}"),
            },
            Kind::Float { min, max } => write!(f, "number, {min} to {max}"),
            Kind::Bool => f.write_str("true or false"),
            Kind::Choice(words) => f.write_str(&words.join(" | ")),
            Kind::Choices(words) => write!(f, "list of {}", words.join(", ")),
            Kind::Text => f.write_str("text"),
            Kind::List => f.write_str("list"),
        }
    }
}

/// A whole number of milliseconds as a duration; negative ones are zero.
pub(super) fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn parse_int(text: &str, min: i64, max: i64) -> Result<i64, String> {
    let number: i64 = text.parse().map_err(|_| format!("\"{text}\" is not a whole number"))?;
    if number < min {
        Err(format!("{number} is less than the least value, {min}"))
    } else if number > max {
        Err(format!("{number} is more than the greatest value, {max}"))
    } else {
        Ok(number)
    }
}

fn choose(words: &[&str], text: &str) -> Result<String, String> {
    words
        .iter()
        .find(|word| word.eq_ignore_ascii_case(text))
        .map(|word| (*word).to_owned())
        .ok_or_else(|| format!("\"{text}\" is not one of {}", words.join(", ")))
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn at_least_one(texts: Vec<String>) -> Result<Value, String> {
    if texts.is_empty() { Err("it must not be empty".to_owned()) } else { Ok(Value::List(texts)) }
}
