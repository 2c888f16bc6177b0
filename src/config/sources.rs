//! Where values come from: flag over environment over file over default, and who set what.
//!
//! Pure: the caller reads the file and the environment and hands both over as text. Every mistake
//! names its key and the place it was made in; all mistakes are reported at once.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{self, KEYS, Key};
use super::kind::Value;
use super::suggest::nearest;

/// Who set a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody: the built-in default.
    Default,
    /// The configuration file of this path.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The command-line flag of this spelling.
    Flag(String),
    /// A change for all brokers while they run.
    DynamicDefault,
    /// A change for this broker while it runs.
    DynamicBroker,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Environment(variable) => write!(f, "environment variable {variable}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
            Origin::DynamicDefault => f.write_str("a change for all brokers"),
            Origin::DynamicBroker => f.write_str("a change for this broker"),
        }
    }
}

/// One mistake in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No key has this name.
    #[error("unknown configuration key \"{key}\" ({origin}){}", did_you_mean(.suggestion.as_deref()))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where.
        origin: Origin,
        /// A key that may have been meant.
        suggestion: Option<String>,
    },
    /// The value does not suit the key.
    #[error("bad value for \"{key}\" ({origin}): {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// Half a sentence.
        reason: String,
    },
    /// The file is not TOML.
    #[error("cannot read the configuration file {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the parser says.
        reason: String,
    },
}

/// The tail of an unknown key's message.
fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!("; did you mean \"{key}\"?")).unwrap_or_default()
}

/// All mistakes that were found, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A `key=value` from the command line, with the flag it came by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagValue {
    /// The flag as the user spells it, such as `--listen`.
    pub flag: String,
    /// The key it sets.
    pub key: String,
    /// The text.
    pub value: String,
}

/// Everything that can set a value.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    /// The configuration file: its path, for messages, and its text.
    pub file: Option<(String, String)>,
    /// The whole environment; what does not start with `TIDEMILL_` is not looked at.
    pub environment: Vec<(String, String)>,
    /// The command line, in order: a later one wins.
    pub flags: Vec<FlagValue>,
}

/// A key's value and who set it.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// The value; `None` if the key has no default and nobody set it.
    pub value: Option<Value>,
    /// Who set it.
    pub origin: Origin,
    /// What it would be if a change while the broker runs were taken back.
    pub below: Option<Box<Resolved>>,
}

/// The value of every key of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct Values(BTreeMap<&'static str, Resolved>);

/// Variables that belong to the command line's client verbs, not to the server.
const CLIENT_VARIABLES: &[&str] =
    &["TIDEMILL_CONFIG", "TIDEMILL_ADMIN", "TIDEMILL_BOOTSTRAP_SERVERS", "TIDEMILL_FORMAT"];

/// One value as somebody wrote it.
struct Setting {
    key: String,
    value: String,
    origin: Origin,
}

impl Values {
    /// Lays the sources over the defaults.
    pub fn resolve(sources: &Sources) -> Result<Values, ConfigErrors> {
        let mut errors = Vec::new();
        let mut values = defaults();
        let layers =
            [file_settings(sources, &mut errors), environment_settings(sources), flag_settings(sources)];
        for layer in layers {
            let mut seen: BTreeMap<&'static str, String> = BTreeMap::new();
            for setting in layer {
                if let Err(error) = apply(&mut values, &mut seen, setting) {
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() { Ok(values) } else { Err(ConfigErrors(errors)) }
    }

    /// The value of a key that has a default or was set.
    pub fn get(&self, name: &str) -> Option<&Resolved> {
        self.0.get(name)
    }

    /// Every key of the table with its value, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &Resolved)> {
        KEYS.iter().filter_map(|key| self.0.get(key.name).map(|resolved| (key, resolved)))
    }

    /// Sets a key over what it has.
    pub(super) fn lay_over(&mut self, key: &Key, value: Value, origin: Origin) {
        let below = self.0.remove(key.name).map(Box::new);
        self.0.insert(key.name, Resolved { value: Some(value), origin, below });
    }

    pub(super) fn resolved(&self, name: &str) -> &Resolved {
        self.0.get(name).expect("a test walks every name that is asked for through the table")
    }

    pub(super) fn optional(&self, name: &str) -> Option<&Value> {
        self.resolved(name).value.as_ref()
    }

    pub(super) fn required(&self, name: &str) -> &Value {
        self.optional(name).expect("this key has a default")
    }

    /// A mistake that only the typed reading of a value finds.
    pub(super) fn bad(&self, name: &str, reason: impl Into<String>) -> ConfigError {
        let origin = self.resolved(name).origin.clone();
        ConfigError::BadValue { key: name.to_owned(), origin, reason: reason.into() }
    }
}

fn defaults() -> Values {
    let resolve = |key: &'static Key| {
        let value = key.default.map(|text| key.kind.parse(text).expect("a test parses every default"));
        (key.name, Resolved { value, origin: Origin::Default, below: None })
    };
    Values(KEYS.iter().map(resolve).collect())
}

fn apply(
    values: &mut Values,
    seen: &mut BTreeMap<&'static str, String>,
    setting: Setting,
) -> Result<(), ConfigError> {
    let Setting { key: written, value: text, origin } = setting;
    let Some(key) = keys::find(&written) else {
        let names = KEYS.iter().flat_map(|key| key.aliases.iter().copied().chain([key.name]));
        let suggestion = nearest(&written, names).map(str::to_owned);
        return Err(ConfigError::UnknownKey { key: written, origin, suggestion });
    };
    let bad = |reason: String| ConfigError::BadValue { key: written.clone(), origin: origin.clone(), reason };
    let value = key.kind.parse(&text).map_err(|reason| bad(format!("{reason} (expected: {})", key.kind)))?;
    if let Some(other) = seen.insert(key.name, written.clone())
        && other != written
    {
        return Err(bad(format!("\"{other}\" sets the same thing; give only one of them")));
    }
    values.0.insert(key.name, Resolved { value: Some(value), origin, below: None });
    Ok(())
}

fn flag_settings(sources: &Sources) -> Vec<Setting> {
    let setting = |flag: &FlagValue| Setting {
        key: flag.key.clone(),
        value: flag.value.clone(),
        origin: Origin::Flag(flag.flag.clone()),
    };
    sources.flags.iter().map(setting).collect()
}

fn environment_settings(sources: &Sources) -> Vec<Setting> {
    let mut names: BTreeMap<String, &'static str> = BTreeMap::new();
    for key in KEYS {
        for name in key.aliases.iter().copied().chain([key.name]) {
            names.insert(keys::environment_variable(name), name);
        }
    }
    let mut settings = Vec::new();
    for (variable, value) in &sources.environment {
        if !variable.starts_with("TIDEMILL_") || is_foreign(variable) {
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        let key = match names.get(variable) {
            Some(name) => (*name).to_owned(),
            // Unknown: back to a key's spelling, so that the suggestion compares like with like.
            None => variable.trim_start_matches("TIDEMILL_").to_ascii_lowercase().replace('_', "."),
        };
        settings.push(Setting { key, value: value.clone(), origin });
    }
    settings
}

/// Whether a variable is not meant for the server: the client verbs' own, or one of those which
/// Kubernetes sets in every pod for a service named "tidemill".
fn is_foreign(variable: &str) -> bool {
    let of_a_service = ["TIDEMILL_SERVICE_HOST", "TIDEMILL_SERVICE_PORT", "TIDEMILL_PORT"];
    CLIENT_VARIABLES.contains(&variable) || of_a_service.iter().any(|prefix| variable.starts_with(prefix))
}

fn file_settings(sources: &Sources, errors: &mut Vec<ConfigError>) -> Vec<Setting> {
    let Some((path, text)) = &sources.file else { return Vec::new() };
    let mut settings = Vec::new();
    match text.parse::<toml::Table>() {
        Ok(table) => flatten("", &table, path, &mut settings, errors),
        Err(error) => errors
            .push(ConfigError::File { path: path.clone(), reason: error.to_string().trim_end().to_owned() }),
    }
    settings
}

/// Nested tables and quoted keys mean the same: `[log.retention] ms = 1` is `"log.retention.ms" = 1`.
fn flatten(
    prefix: &str,
    table: &toml::Table,
    path: &str,
    settings: &mut Vec<Setting>,
    errors: &mut Vec<ConfigError>,
) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let origin = Origin::File(path.to_owned());
        if let toml::Value::Table(inner) = value {
            flatten(&key, inner, path, settings, errors);
            continue;
        }
        match scalar(value) {
            Some(value) => settings.push(Setting { key, value, origin }),
            None => {
                let reason = "it must be text, a number, true or false, or a list of these".to_owned();
                errors.push(ConfigError::BadValue { key, origin, reason });
            }
        }
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(values) => {
            values.iter().map(scalar).collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
