//! Configuration of a node: defaults < TOML file < environment (`QUORATE_*`) < flags.
//!
//! Every value has one dotted key (`api.listen`), which is its place in the TOML file and, upper
//! case with `_` for `.`, its environment variable (`QUORATE_API_LISTEN`). An unknown key is an
//! error that names the closest known one.

mod service;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use toml::Value;

pub use service::{FilesCleanup, Restart, ServiceConfig};

/// What a node runs with. [`NodeConfig::load`] is the usual way to make one.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeConfig {
    /// Where groups, ledgers and the node's state live. Default `./data`.
    pub data_dir: PathBuf,
    /// Keys at rest.
    pub keystore: KeystoreConfig,
    /// The HTTP API.
    pub api: ApiConfig,
    /// The peer-to-peer network.
    pub network: NetworkConfig,
    /// How it takes part in `cft` groups.
    pub service: ServiceConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// Keys at rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeystoreConfig {
    /// Directory of key files. Default: `keystore` in the data directory.
    pub dir: Option<PathBuf>,
    /// The password.
    pub password: Option<Secret>,
    /// File whose first line is the password; used if `password` is not given.
    pub password_file: Option<PathBuf>,
    /// log2 of scrypt's N. Default: that of the keystore (about a second). Only for tests and
    /// demonstrations is a lower one in order.
    pub work_factor: Option<u8>,
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiConfig {
    /// Where to listen. Default `127.0.0.1:8002`.
    pub listen: SocketAddr,
    /// URL under which others reach the API; goes into seeds. Default: none, the listen address.
    pub public_url: Option<String>,
    /// HMAC key of access tokens. Default: drawn once and kept in the keystore.
    pub jwt_key: Option<Secret>,
}

/// The peer-to-peer network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// Its name: nodes of different names do not speak to each other. Default `staten`.
    pub name: String,
    /// Where to listen. Default TCP and QUIC on 127.0.0.1:7002.
    pub listen: Vec<Multiaddr>,
    /// Addresses to announce besides those listened on (behind a NAT or a container).
    pub external: Vec<Multiaddr>,
    /// Nodes to ask for others first (`--peer`).
    pub bootstrap: Vec<Multiaddr>,
    /// Most peers connected at a time. Default 50.
    pub max_peers: u32,
    /// Whether nodes of the local network are looked for by mDNS. Default no.
    pub mdns: bool,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// A level (`info`) or filter (`quorate_node=debug,libp2p=warn`). Default `info`.
    pub level: String,
    /// One JSON object per line instead of text. Default no.
    pub json: bool,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Values given on the command line; `None` and empty lists change nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// `keystore.dir`.
    pub keystore_dir: Option<PathBuf>,
    /// `keystore.password`.
    pub keystore_password: Option<String>,
    /// `keystore.password_file`.
    pub keystore_password_file: Option<PathBuf>,
    /// `keystore.work_factor`.
    pub keystore_work_factor: Option<u8>,
    /// `api.listen`.
    pub api_listen: Option<SocketAddr>,
    /// `api.public_url`.
    pub api_public_url: Option<String>,
    /// `api.jwt_key`.
    pub api_jwt_key: Option<String>,
    /// `network.name`.
    pub network_name: Option<String>,
    /// `network.listen`.
    pub network_listen: Vec<Multiaddr>,
    /// `network.external`.
    pub network_external: Vec<Multiaddr>,
    /// `network.bootstrap`: added to those of the lower layers.
    pub network_bootstrap: Vec<Multiaddr>,
    /// `network.max_peers`.
    pub network_max_peers: Option<u32>,
    /// `network.mdns`.
    pub network_mdns: Option<bool>,
    /// `log.level`.
    pub log_level: Option<String>,
    /// `log.json`.
    pub log_json: Option<bool>,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        why: String,
    },
    /// The file is not TOML.
    #[error("configuration file {path} is not valid TOML: {why}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// There is no such key.
    #[error("{place}: unknown key `{key}`{}", suggestion.as_ref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    UnknownKey {
        /// Where it was found.
        place: String,
        /// The key.
        key: String,
        /// The closest known one.
        suggestion: Option<String>,
    },
    /// A value does not fit its key.
    #[error("{place}: `{key}` {why}")]
    Value {
        /// Where it was found.
        place: String,
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// All keys but those of [`service`].
const KEYS: [&str; 16] = [
    "data_dir",
    "keystore.dir",
    "keystore.password",
    "keystore.password_file",
    "keystore.work_factor",
    "api.listen",
    "api.public_url",
    "api.jwt_key",
    "network.name",
    "network.listen",
    "network.external",
    "network.bootstrap",
    "network.max_peers",
    "network.mdns",
    "log.level",
    "log.json",
];

fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(service::KEYS)
}

/// Prefix of the environment variables.
const ENV_PREFIX: &str = "QUORATE_";

/// An environment variable further than this many edits from every key is not meant for us: other
/// programs of the project share the prefix.
const ENV_TYPO: usize = 3;

impl Default for NodeConfig {
    fn default() -> Self {
        let address = |text: &str| text.parse().expect("a constant address parses");
        Self {
            data_dir: PathBuf::from("./data"),
            keystore: KeystoreConfig::default(),
            api: ApiConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 8002)),
                public_url: None,
                jwt_key: None,
            },
            network: NetworkConfig {
                name: "staten".to_owned(),
                listen: vec![
                    address("/ip4/127.0.0.1/tcp/7002"),
                    address("/ip4/127.0.0.1/udp/7002/quic-v1"),
                ],
                external: Vec::new(),
                bootstrap: Vec::new(),
                max_peers: 50,
                mdns: false,
            },
            service: ServiceConfig::default(),
            log: LogConfig { level: "info".to_owned(), json: false },
        }
    }
}

impl NodeConfig {
    /// Merges all layers. `environment` is usually [`std::env::vars`].
    ///
    /// # Errors
    /// [`ConfigError`], naming the layer and key at fault.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(path) = file {
            config.apply_file(path)?;
        }
        config.apply_environment(environment)?;
        config.apply_flags(flags);
        config.check()?;
        Ok(config)
    }

    /// Directory of the key files.
    #[must_use]
    pub fn keystore_dir(&self) -> PathBuf {
        self.keystore.dir.clone().unwrap_or_else(|| self.data_dir.join("keystore"))
    }

    fn apply_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), why: error.to_string() })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError::Syntax { path: path.to_owned(), why: error.to_string() }
        })?;
        self.apply_table(&path.display().to_string(), "", table)
    }

    /// Sets all keys of a section and of those in it. `prefix` is the section's name and a dot.
    fn apply_table(
        &mut self,
        place: &str,
        prefix: &str,
        table: toml::Table,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match value {
                Value::Table(section) if keys().any(|key| is_section_of(&name, key)) => {
                    self.apply_table(place, &format!("{name}."), section)?;
                }
                value => self.set(place, &name, value)?,
            }
        }
        Ok(())
    }

    fn apply_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in environment {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let known = keys().find(|key| env_name(key) == rest);
            match known {
                Some(key) => self.set(&name, key, Value::String(text))?,
                None => {
                    let close = closest(rest, keys().map(env_name));
                    if let Some((suggestion, distance)) = close
                        && distance <= ENV_TYPO
                    {
                        return Err(ConfigError::UnknownKey {
                            place: "environment".to_owned(),
                            key: name.clone(),
                            suggestion: Some(format!("{ENV_PREFIX}{suggestion}")),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_flags(&mut self, flags: Overrides) {
        fn put<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        put(&mut self.data_dir, flags.data_dir);
        put(&mut self.keystore.dir, flags.keystore_dir.map(Some));
        put(&mut self.keystore.password, flags.keystore_password.map(|p| Some(Secret(p))));
        put(&mut self.keystore.password_file, flags.keystore_password_file.map(Some));
        put(&mut self.keystore.work_factor, flags.keystore_work_factor.map(Some));
        put(&mut self.api.listen, flags.api_listen);
        put(&mut self.api.public_url, flags.api_public_url.map(Some));
        put(&mut self.api.jwt_key, flags.api_jwt_key.map(|k| Some(Secret(k))));
        put(&mut self.network.name, flags.network_name);
        if !flags.network_listen.is_empty() {
            self.network.listen = flags.network_listen;
        }
        if !flags.network_external.is_empty() {
            self.network.external = flags.network_external;
        }
        self.network.bootstrap.extend(flags.network_bootstrap);
        put(&mut self.network.max_peers, flags.network_max_peers);
        put(&mut self.network.mdns, flags.network_mdns);
        put(&mut self.log.level, flags.log_level);
        put(&mut self.log.json, flags.log_json);
    }

    fn set(&mut self, place: &str, key: &str, value: Value) -> Result<(), ConfigError> {
        let at = At { place, key };
        match key {
            "data_dir" => self.data_dir = PathBuf::from(at.text(value)?),
            "keystore.dir" => self.keystore.dir = Some(PathBuf::from(at.text(value)?)),
            "keystore.password" => self.keystore.password = Some(Secret(at.text(value)?)),
            "keystore.password_file" => {
                self.keystore.password_file = Some(PathBuf::from(at.text(value)?));
            }
            "keystore.work_factor" => self.keystore.work_factor = Some(at.number(value)?),
            "api.listen" => self.api.listen = at.parsed(&at.text(value)?)?,
            "api.public_url" => self.api.public_url = Some(at.text(value)?),
            "api.jwt_key" => self.api.jwt_key = Some(Secret(at.text(value)?)),
            "network.name" => self.network.name = at.text(value)?,
            "network.listen" => self.network.listen = at.addresses(value)?,
            "network.external" => self.network.external = at.addresses(value)?,
            "network.bootstrap" => self.network.bootstrap = at.addresses(value)?,
            "network.max_peers" => self.network.max_peers = at.number(value)?,
            "network.mdns" => self.network.mdns = at.flag(value)?,
            "log.level" => self.log.level = at.text(value)?,
            "log.json" => self.log.json = at.flag(value)?,
            _ => {
                if !self.service.set(&at, value)? {
                    return Err(ConfigError::UnknownKey {
                        place: place.to_owned(),
                        key: key.to_owned(),
                        suggestion: closest(key, keys().map(str::to_owned)).map(|(name, _)| name),
                    });
                }
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| ConfigError::Value {
            place: "configuration".to_owned(),
            key: key.to_owned(),
            why: why.to_owned(),
        };
        let name = &self.network.name;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(good) {
            return Err(wrong("network.name", "must be 1 to 32 letters, digits or `-`"));
        }
        if self.network.max_peers == 0 {
            return Err(wrong("network.max_peers", "must be at least 1"));
        }
        if self.network.listen.is_empty() {
            return Err(wrong("network.listen", "needs at least one address"));
        }
        if let Some((key, why)) = self.service.fault() {
            return Err(wrong(key, why));
        }
        Ok(())
    }
}

/// Where a value stands, for its error.
struct At<'a> {
    place: &'a str,
    key: &'a str,
}

impl At<'_> {
    fn wrong(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            place: self.place.to_owned(),
            key: self.key.to_owned(),
            why: why.into(),
        }
    }

    fn text(&self, value: Value) -> Result<String, ConfigError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(format!("must be a text, not a {}", other.type_str()))),
        }
    }

    fn flag(&self, value: Value) -> Result<bool, ConfigError> {
        match value {
            Value::Boolean(flag) => Ok(flag),
            Value::String(text) if matches!(text.as_str(), "true" | "1" | "on") => Ok(true),
            Value::String(text) if matches!(text.as_str(), "false" | "0" | "off") => Ok(false),
            _ => Err(self.wrong("must be true or false")),
        }
    }

    fn number<T: TryFrom<i64>>(&self, value: Value) -> Result<T, ConfigError> {
        let number = match value {
            Value::Integer(number) => Some(number),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.wrong("must be a number in range"))
    }

    fn millis(&self, value: Value) -> Result<u64, ConfigError> {
        let text = self.text(value)?;
        service::millis(&text).ok_or_else(|| {
            self.wrong(format!("must be a time like `100ms` (us, ms, s, min, h), not `{text}`"))
        })
    }

    fn size(&self, value: Value) -> Result<u64, ConfigError> {
        let text = self.text(value)?;
        service::size(&text).ok_or_else(|| {
            self.wrong(format!("must be a size like `5MB` (B, KB, MB, GB, TB), not `{text}`"))
        })
    }

    fn parsed<T: std::str::FromStr>(&self, text: &str) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        text.trim().parse().map_err(|error| self.wrong(format!("`{text}`: {error}")))
    }

    /// A list, or a text of items separated by commas.
    fn list(&self, of: &str, value: Value) -> Result<Vec<String>, ConfigError> {
        match value {
            Value::String(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(items.map(str::to_owned).collect())
            }
            Value::Array(items) => items.into_iter().map(|item| self.text(item)).collect(),
            other => Err(self.wrong(format!("must be a list of {of}, not a {}", other.type_str()))),
        }
    }

    fn addresses(&self, value: Value) -> Result<Vec<Multiaddr>, ConfigError> {
        self.list("multiaddrs", value)?.iter().map(|text| self.parsed(text)).collect()
    }
}

fn is_section_of(name: &str, key: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

fn env_name(key: &str) -> String {
    key.replace('.', "_").to_ascii_uppercase()
}

/// The candidate with the fewest edits, and how many.
fn closest(word: &str, candidates: impl Iterator<Item = String>) -> Option<(String, usize)> {
    candidates
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(word, &candidate);
            (candidate, distance)
        })
        .min_by_key(|(_, distance)| *distance)
}

#[cfg(test)]
mod tests;
