//! The node's keys at rest.
//!
//! ```text
//! <dir>/master.age        32 random bytes, an age file under the password (scrypt)
//! <dir>/node.key          the node's libp2p identity (secp256k1)
//! <dir>/jwt.key           HMAC key of access tokens
//! <dir>/group-<gid>.key   member key and encryption key of one group
//! <dir>/service-<gid>.key node key of one `cft` group, and what its service gave this node
//! ```
//! Everything but the first is AES-256-GCM under the master key, with the file name as associated
//! data, so a start costs one scrypt however many groups there are, and no file can pass for
//! another. The keys that seal each group's vault are derived from the master key too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use quorate_crypto::cipher::{self, SymmetricKey};
use quorate_crypto::hash::Hasher;
use quorate_crypto::member::MemberKey;
use quorate_crypto::recipient::{
    EncryptKey, RecipientError, open_with_password, seal_with_password,
};
use quorate_ledger::ids::GroupId;
use serde::{Deserialize, Serialize};

use crate::config::{NodeConfig, Secret};

const MASTER: &str = "master.age";
const NODE: &str = "node.key";
const TOKEN: &str = "jwt.key";

/// Why keys could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// No password was given.
    #[error(
        "no keystore password: set QUORATE_KEYSTORE_PASSWORD, or name a file with \
         keystore.password_file"
    )]
    NoPassword,
    /// The password file cannot be read.
    #[error("the keystore password file {path} cannot be read: {why}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        why: String,
    },
    /// The password does not open the keystore.
    #[error(
        "the password does not open the keystore in {dir}; give the password it was made with, \
         or point keystore.dir at another keystore"
    )]
    WrongPassword {
        /// The keystore.
        dir: PathBuf,
    },
    /// A key file does not open or is not what its name says.
    #[error(
        "the key file {path} is damaged or belongs to another keystore; restore it from a backup"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There are key files, but the master key they need is gone.
    #[error(
        "{dir} holds key files but no {MASTER}; restore {MASTER} from a backup (a new one could \
         not open them)"
    )]
    NoMaster {
        /// The keystore.
        dir: PathBuf,
    },
    /// The disk refused.
    #[error("keystore {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The password could not be applied.
    #[error("keystore encryption failed: {0}")]
    Seal(RecipientError),
}

/// The keys of one group.
#[derive(Clone, Debug)]
pub struct GroupKeys {
    /// Signs as member.
    pub member: MemberKey,
    /// Receives secrets as member.
    pub encrypt: EncryptKey,
}

/// Who this node is in one `cft` group.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKeys {
    /// Its private key (PKCS #8).
    #[serde(with = "hexadecimal")]
    pub node_key: Vec<u8>,
    /// What its service gave it; `None` until it is admitted.
    pub membership: Option<Membership>,
}

impl std::fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceKeys(admitted: {})", self.membership.is_some())
    }
}

/// What a service gives a node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The node's certificate (PEM).
    pub node_certificate: String,
    /// The service's certificate (PEM).
    pub service_certificate: String,
    /// The service's private key.
    #[serde(with = "hexadecimal")]
    pub service_key: Vec<u8>,
    /// The ledger secret.
    #[serde(with = "hexadecimal")]
    pub ledger_secret: Vec<u8>,
    /// Whether the node's log ever had an entry: if so and it is gone, the node must not come back
    /// as the same one.
    pub began: bool,
}

/// Bytes as hexadecimal digits.
mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(source)?).map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct GroupKeysFile {
    member: String,
    encrypt: String,
}

/// An open keystore.
pub struct Keystore {
    dir: PathBuf,
    master: SymmetricKey,
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keystore({})", self.dir.display())
    }
}

/// The password a configuration gives: itself, or the first line of its file.
///
/// # Errors
/// [`KeystoreError::NoPassword`], [`KeystoreError::PasswordFile`].
pub fn password_of(config: &NodeConfig) -> Result<Secret, KeystoreError> {
    if let Some(password) = &config.keystore.password {
        return Ok(password.clone());
    }
    let Some(path) = &config.keystore.password_file else {
        return Err(KeystoreError::NoPassword);
    };
    let text = fs::read_to_string(path).map_err(|error| KeystoreError::PasswordFile {
        path: path.clone(),
        why: error.to_string(),
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(KeystoreError::PasswordFile {
            path: path.clone(),
            why: "its first line is empty".to_owned(),
        }),
    }
}

impl Keystore {
    /// Opens the keystore in `dir`, making it if there is none. Costs one scrypt (about a second
    /// with the default `work_factor`, which is used only when a keystore is made).
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn open(
        dir: impl Into<PathBuf>,
        password: &Secret,
        work_factor: Option<u8>,
    ) -> Result<Self, KeystoreError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|source| io_error(&dir, source))?;
        let path = dir.join(MASTER);
        let master = match fs::read(&path) {
            Ok(file) => {
                let bytes = open_with_password(password.expose(), &file)
                    .map_err(|_| KeystoreError::WrongPassword { dir: dir.clone() })?;
                SymmetricKey::from_slice(&bytes)
                    .ok_or_else(|| KeystoreError::Damaged { path: path.clone() })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if has_key_files(&dir)? {
                    return Err(KeystoreError::NoMaster { dir });
                }
                let master = SymmetricKey::generate(&mut rand::rng());
                let file = seal_with_password(password.expose(), master.as_bytes(), work_factor)
                    .map_err(KeystoreError::Seal)?;
                write_durably(&dir, MASTER, &file)?;
                master
            }
            Err(source) => return Err(io_error(&path, source)),
        };
        Ok(Self { dir, master })
    }

    /// The node's identity; drawn and kept on first use.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn node_key(&self) -> Result<MemberKey, KeystoreError> {
        let bytes =
            self.read_or_make(NODE, || MemberKey::generate(&mut rand::rng()).to_bytes().to_vec())?;
        let array: [u8; 32] = bytes.try_into().map_err(|_| self.damaged(NODE))?;
        MemberKey::from_bytes(&array).ok_or_else(|| self.damaged(NODE))
    }

    /// The HMAC key of access tokens; drawn and kept on first use.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn token_key(&self) -> Result<Vec<u8>, KeystoreError> {
        self.read_or_make(TOKEN, || SymmetricKey::generate(&mut rand::rng()).as_bytes().to_vec())
    }

    /// The keys of a group; drawn and kept on first use. They stay when the group is left or
    /// cleared, so that who joins again is the same member.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn group_keys(&self, group: GroupId) -> Result<GroupKeys, KeystoreError> {
        let name = group_file(group);
        let bytes = self.read_or_make(&name, || {
            let file = GroupKeysFile {
                member: hex::encode(MemberKey::generate(&mut rand::rng()).to_bytes()),
                encrypt: EncryptKey::generate(&mut rand::rng()).to_secret_text().to_string(),
            };
            serde_json::to_vec(&file).expect("two texts are JSON")
        })?;
        self.decode_group(&name, &bytes).ok_or_else(|| self.damaged(&name))
    }

    /// Who this node is in a `cft` group, if it has a key there.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn service_keys(&self, group: GroupId) -> Result<Option<ServiceKeys>, KeystoreError> {
        self.read_service(&service_file(group))
    }

    /// Who this node is to be in a `cft` group that is being recovered; `None` unless a recovery was
    /// begun and has not ended.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn recovering_keys(&self, group: GroupId) -> Result<Option<ServiceKeys>, KeystoreError> {
        self.read_service(&recovering_file(group))
    }

    fn read_service(&self, name: &str) -> Result<Option<ServiceKeys>, KeystoreError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let keys = serde_json::from_slice(&bytes);
        keys.map(Some).map_err(|_| self.damaged(name))
    }

    /// Keeps durably who this node is in a `cft` group.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn set_service_keys(
        &self,
        group: GroupId,
        keys: &ServiceKeys,
    ) -> Result<(), KeystoreError> {
        let bytes = serde_json::to_vec(keys).expect("texts are JSON");
        self.write(&service_file(group), &bytes)
    }

    /// Keeps durably who this node is to be once the recovery of a `cft` group has ended.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn set_recovering_keys(
        &self,
        group: GroupId,
        keys: &ServiceKeys,
    ) -> Result<(), KeystoreError> {
        let bytes = serde_json::to_vec(keys).expect("texts are JSON");
        self.write(&recovering_file(group), &bytes)
    }

    /// Forgets who this node is in a `cft` group: without its log it must not come back as the same
    /// node.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn remove_service_keys(&self, group: GroupId) -> Result<(), KeystoreError> {
        self.remove(&service_file(group))
    }

    /// The recovery of a `cft` group has ended.
    ///
    /// # Errors
    /// [`KeystoreError`].
    pub fn remove_recovering_keys(&self, group: GroupId) -> Result<(), KeystoreError> {
        self.remove(&recovering_file(group))
    }

    fn remove(&self, name: &str) -> Result<(), KeystoreError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path).and_then(|()| File::open(&self.dir)?.sync_all()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| io_error(&path, source)),
        }
    }

    /// Where the keys of a `cft` group are.
    #[must_use]
    pub fn service_path(&self, group: GroupId) -> PathBuf {
        self.dir.join(service_file(group))
    }

    /// The groups there are keys for, in order.
    ///
    /// # Errors
    /// [`KeystoreError::Io`].
    pub fn groups(&self) -> Result<Vec<GroupId>, KeystoreError> {
        let mut groups: Vec<GroupId> = names(&self.dir)?
            .iter()
            .filter_map(|name| name.strip_prefix("group-")?.strip_suffix(".key")?.parse().ok())
            .collect();
        groups.sort_unstable();
        Ok(groups)
    }

    /// The key that seals a group's vault at rest, derived from the master key.
    #[must_use]
    pub fn storage_key(&self, group: GroupId) -> SymmetricKey {
        let digest = Hasher::new("quorate.keystore.storage.v1")
            .field(self.master.as_bytes())
            .field(group.0.as_bytes())
            .finish();
        SymmetricKey(digest.0)
    }

    fn decode_group(&self, name: &str, bytes: &[u8]) -> Option<GroupKeys> {
        let file: GroupKeysFile = serde_json::from_slice(bytes).ok()?;
        let mut member = [0; 32];
        hex::decode_to_slice(&file.member, &mut member).ok()?;
        let keys = GroupKeys {
            member: MemberKey::from_bytes(&member)?,
            encrypt: EncryptKey::from_secret_text(&file.encrypt).ok()?,
        };
        tracing::debug!(file = name, member = %keys.member.public(), "keys of a group are open");
        Some(keys)
    }

    fn read_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> Vec<u8>,
    ) -> Result<Vec<u8>, KeystoreError> {
        if let Some(bytes) = self.read(name)? {
            return Ok(bytes);
        }
        let bytes = make();
        self.write(name, &bytes)?;
        Ok(bytes)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, KeystoreError> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(sealed) => cipher::open(&self.master, name.as_bytes(), &sealed)
                .map(Some)
                .map_err(|_| KeystoreError::Damaged { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(&path, source)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), KeystoreError> {
        let sealed = cipher::seal(&self.master, &mut rand::rng(), name.as_bytes(), bytes);
        write_durably(&self.dir, name, &sealed)
    }

    fn damaged(&self, name: &str) -> KeystoreError {
        KeystoreError::Damaged { path: self.dir.join(name) }
    }
}

fn group_file(group: GroupId) -> String {
    format!("group-{group}.key")
}

fn service_file(group: GroupId) -> String {
    format!("service-{group}.key")
}

fn recovering_file(group: GroupId) -> String {
    format!("recovering-{group}.key")
}

fn io_error(path: &Path, source: io::Error) -> KeystoreError {
    KeystoreError::Io { path: path.to_owned(), source }
}

fn names(dir: &Path) -> Result<Vec<String>, KeystoreError> {
    let entries = fs::read_dir(dir).map_err(|source| io_error(dir, source))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error(dir, source))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn has_key_files(dir: &Path) -> Result<bool, KeystoreError> {
    Ok(names(dir)?.iter().any(|name| name.ends_with(".key")))
}

/// Writes a file so that after a crash there is either all of it or none: a lost key is a lost
/// member.
fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), KeystoreError> {
    let path = dir.join(name);
    let half = dir.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&half, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| io_error(&path, source))
}

#[cfg(test)]
mod tests;
