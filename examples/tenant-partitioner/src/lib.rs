//! Gives tenants partitions of their own, within which their records are spread by key. Config:
//!
//! - `tenants`: who owns what: `acme=0-3;globex=4`. All others share the partitions that nobody owns.
//! - `header`: the header that names a record's tenant, if one does.
//! - `separator`: where there is no such header, a key names its tenant up to this; `:` by default.

use tidemill_guest::{Error, Partitioner, Record, config, config_or, config_parsed, default_partition};

struct TenantPartitioner {
    /// By rising partitions; no two overlap.
    tenants: Vec<Tenant>,
    header: Option<String>,
    separator: String,
}

struct Tenant {
    name: String,
    first: u32,
    last: u32,
}

impl Partitioner for TenantPartitioner {
    fn configure() -> Result<TenantPartitioner, Error> {
        let separator = config_or("separator", ":".to_owned())?;
        if separator.is_empty() {
            return Err(Error::fatal("the config key `separator` is empty: give at least one character"));
        }
        let tenants = tenants(&config_parsed::<String>("tenants")?)
            .map_err(|what| Error::fatal(format!("the config key `tenants`: {what}")))?;
        Ok(TenantPartitioner { tenants, header: config("header"), separator })
    }

    fn partition(&mut self, topic: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error> {
        let name = self.tenant_of(&record);
        let listed = self.tenants.iter().find(|tenant| Some(tenant.name.as_bytes()) == name);
        match listed {
            Some(tenant) if tenant.last >= partitions => Err(Error::reject(format!(
                "tenant {tenant} goes beyond the {partitions} partitions of topic `{topic}`"
            ))),
            Some(tenant) => Ok(tenant.first + default_partition(&record, tenant.last - tenant.first + 1)),
            None => self.shared(partitions, &record).ok_or_else(|| {
                let name = name.map_or("without a name".to_owned(), |name| {
                    format!("`{}`", String::from_utf8_lossy(name))
                });
                Error::reject(format!(
                    "tenant {name} is not listed, and others own all {partitions} partitions of topic `{topic}`"
                ))
            }),
        }
    }
}

impl TenantPartitioner {
    fn tenant_of<'a>(&self, record: &Record<'a>) -> Option<&'a [u8]> {
        if let Some(name) = self.header.as_deref().and_then(|header| record.header(header)) {
            return Some(name);
        }
        let (key, separator) = (record.key?, self.separator.as_bytes());
        let end = key.windows(separator.len()).position(|window| window == separator);
        Some(&key[..end.unwrap_or(key.len())])
    }

    /// One of the partitions that nobody owns.
    fn shared(&self, partitions: u32, record: &Record<'_>) -> Option<u32> {
        let within = || self.tenants.iter().filter(|tenant| tenant.first < partitions);
        let owned: u32 = within().map(|tenant| tenant.last.min(partitions - 1) - tenant.first + 1).sum();
        let free = partitions.checked_sub(owned).filter(|free| *free > 0)?;
        // Its number among the free ones; each owned range before it moves it on.
        let number = default_partition(record, free);
        let before = |number, tenant: &Tenant| {
            if tenant.first <= number { number + (tenant.last - tenant.first + 1) } else { number }
        };
        Some(within().fold(number, before))
    }
}

impl std::fmt::Display for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tenant { name, first, last } = self;
        if first == last { write!(f, "`{name}` ({first})") } else { write!(f, "`{name}` ({first}-{last})") }
    }
}

/// The tenants by rising partitions, or what is wrong with them.
fn tenants(text: &str) -> Result<Vec<Tenant>, String> {
    let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
    let mut tenants = entries.map(tenant).collect::<Result<Vec<_>, _>>()?;
    if tenants.is_empty() {
        return Err("it names no tenant".to_owned());
    }
    tenants.sort_by(|one, other| one.name.cmp(&other.name));
    for pair in tenants.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(format!("{} and {} are the same tenant: give it one range", pair[0], pair[1]));
        }
    }
    tenants.sort_by_key(|tenant| tenant.first);
    for pair in tenants.windows(2) {
        if pair[1].first <= pair[0].last {
            return Err(format!("{} and {} overlap", pair[0], pair[1]));
        }
    }
    Ok(tenants)
}

/// Reads `acme=0-3` or `globex=4`. The last `=` is the one that counts: a name may have others.
fn tenant(entry: &str) -> Result<Tenant, String> {
    let unreadable = || format!("`{entry}` is not a tenant with its partitions, as `acme=0-3` or `globex=4`");
    let (name, range) = entry.rsplit_once('=').ok_or_else(unreadable)?;
    let (name, range) = (name.trim(), range.trim());
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    // Kafka's partitions are numbered by 31 bits.
    let number = |text: &str| text.trim().parse().ok().filter(|number| *number <= i32::MAX as u32);
    let (first, last) = number(first).zip(number(last)).ok_or_else(unreadable)?;
    if name.is_empty() {
        return Err(unreadable());
    }
    if first > last {
        return Err(format!("`{entry}` ends before it begins"));
    }
    Ok(Tenant { name: name.to_owned(), first, last })
}

tidemill_guest::partitioner!(TenantPartitioner);

#[cfg(test)]
mod tests;
