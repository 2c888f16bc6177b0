//! Listener addresses: where the server binds, and what it tells clients to connect to.
//!
//! Pure: no name is resolved and no port opened here.

use std::fmt;

/// A host and a port, not yet resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; 0 asks the operating system for a free one.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`, `[v6]:port` or `:port`; the host may be empty.
    pub fn parse(text: &str) -> Result<HostPort, String> {
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| format!("\"{text}\" has no port; write host:port"))?;
        let port: u16 = port.parse().map_err(|_| format!("\"{port}\" is not a port (0 to 65535)"))?;
        let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner,
            None if host.contains(':') => {
                return Err(format!("\"{text}\" is ambiguous; write an IPv6 address as [address]:port"));
            }
            None => host,
        };
        if host.contains(['/', ' ', '[', ']', '@']) {
            return Err(format!("\"{host}\" is not a host"));
        }
        Ok(HostPort { host: host.to_owned(), port })
    }

    /// Whether the host stands for all interfaces.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::" | "*")
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a listener's clients are told to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Advertised {
    /// The address and port that the client's own connection came in by.
    SameAsConnection,
    /// This one.
    Address(HostPort),
}

/// One place where the server listens for Kafka clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its name; with only plain connections it is `PLAINTEXT`.
    pub name: String,
    /// Where it binds. An empty host means all interfaces.
    pub bind: HostPort,
    /// What its clients are told.
    pub advertised: Advertised,
    /// Who clients are that have not said it, as Kafka writes principals.
    pub principal: String,
}

/// Kafka's `KafkaPrincipal.ANONYMOUS`.
const ANONYMOUS: &str = "User:ANONYMOUS";

const PLAINTEXT: &str = "PLAINTEXT";

/// Reads `PLAINTEXT://host:port` or `host:port` into a listener's name and address.
fn parse_endpoint(text: &str) -> Result<(String, HostPort), String> {
    let (name, address) = match text.split_once("://") {
        Some((name, address)) => (name.to_ascii_uppercase(), address),
        None => (PLAINTEXT.to_owned(), text),
    };
    if name != PLAINTEXT {
        return Err(format!("\"{text}\": only {PLAINTEXT} listeners are served; {name} is not"));
    }
    HostPort::parse(address).map(|address| (name, address))
}

/// Reads the values of `listeners`.
pub(super) fn parse_listeners(texts: &[String]) -> Result<Vec<Listener>, String> {
    let mut listeners: Vec<Listener> = Vec::new();
    for text in texts {
        let (name, bind) = parse_endpoint(text)?;
        if bind.port != 0 && listeners.iter().any(|other| other.bind == bind) {
            return Err(format!("{bind} is given twice"));
        }
        let advertised = if bind.is_wildcard() || bind.port == 0 {
            Advertised::SameAsConnection
        } else {
            Advertised::Address(bind.clone())
        };
        listeners.push(Listener { name, bind, advertised, principal: ANONYMOUS.to_owned() });
    }
    Ok(listeners)
}

/// Reads the values of `tidemill.listener.principals`: one for all listeners, or one for each in order.
pub(super) fn name_principals(listeners: &mut [Listener], texts: &[String]) -> Result<(), String> {
    check_count(listeners, texts.len(), "principals")?;
    for text in texts {
        let is_principal =
            text.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
        if !is_principal {
            return Err(format!("\"{text}\" is no principal; write Type:name, such as {ANONYMOUS}"));
        }
    }
    for (listener, principal) in listeners.iter_mut().zip(texts.iter().cycle()) {
        listener.principal.clone_from(principal);
    }
    Ok(())
}

fn check_count(listeners: &[Listener], given: usize, what: &str) -> Result<(), String> {
    if given == 1 || given == listeners.len() {
        return Ok(());
    }
    Err(format!("{given} {what} for {} listeners; give one, or one each", listeners.len()))
}

/// Reads the values of `advertised.listeners`: one for all listeners, or one for each in order.
pub(super) fn advertise(listeners: &mut [Listener], texts: &[String]) -> Result<(), String> {
    check_count(listeners, texts.len(), "addresses")?;
    let mut addresses = Vec::new();
    for text in texts {
        let (_, address) = parse_endpoint(text)?;
        if address.is_wildcard() {
            return Err(format!("\"{text}\": clients cannot connect to all interfaces; name a host"));
        }
        if address.port == 0 {
            return Err(format!("\"{text}\": clients cannot connect to port 0"));
        }
        addresses.push(address);
    }
    for (listener, address) in listeners.iter_mut().zip(addresses.iter().cycle()) {
        listener.advertised = Advertised::Address(address.clone());
    }
    Ok(())
}
