//! Who gets in: TLS, users, the access list, and what slows down guessing. All of it but the limits is
//! read again on SIGHUP; connections keep what they were made with.

pub mod access;
pub mod cipher;
pub mod scram;
pub mod throttle;
pub mod tls;
pub mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rand::RngCore;

use self::access::{Client, Method, Rule};
use self::scram::{DEFAULT_ITERATIONS, Verifier};
use self::throttle::Throttle;
use self::tls::{Tls, TlsError};
use self::waiting::Waiting;
use crate::config::Config;

/// File in the data directory with the secret behind what unknown users are asked with, so that a
/// restart does not tell them from known ones.
const MOCK_SECRET_FILE: &str = "scram-mock.secret";
const SECRET_LENGTH: usize = 32;

/// What every new connection consults.
#[derive(Debug)]
pub struct Security {
    policy: RwLock<Arc<Policy>>,
    tls: RwLock<Option<Arc<Tls>>>,
    pub throttle: Throttle,
    pub waiting: Arc<Waiting>,
}

/// Users and the access list, of one reading of the configuration.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    users: BTreeMap<String, Verifier>,
    /// What unknown users get as the number of iterations: as many as most of the known ones have.
    iterations: NonZeroU32,
    mock_secret: Vec<u8>,
}

/// What a client is asked with, and whether there is such a user.
#[derive(Debug)]
pub struct Credentials {
    pub verifier: Verifier,
    pub known: bool,
}

/// Why security cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot keep a secret in {path}")]
    Secret { path: String, source: std::io::Error },
}

impl Security {
    /// Reads certificates; makes the data directory if it is needed.
    pub fn new(config: &Config) -> Result<Self, SecurityError> {
        let tls = tls::load(&config.tls)?.map(Arc::new);
        let policy = Arc::new(Policy::new(config)?);
        Ok(Self {
            policy: RwLock::new(policy),
            tls: RwLock::new(tls),
            // Who waits its turn must not run into the timeout.
            throttle: Throttle::new(config.server.auth_max_delay.min(config.server.auth_timeout / 4)),
            waiting: Waiting::new(config.server.max_unauthenticated),
        })
    }

    /// Takes over users, access list and certificates. What cannot be read stays as it was, and is told.
    pub fn reload(&self, config: &Config) -> Vec<SecurityError> {
        let mut failed = Vec::new();
        match tls::load(&config.tls) {
            Ok(tls) => *self.tls.write() = tls.map(Arc::new),
            Err(error) => failed.push(error.into()),
        }
        match Policy::new(config) {
            Ok(policy) => *self.policy.write() = Arc::new(policy),
            Err(error) => failed.push(error),
        }
        failed
    }

    pub fn policy(&self) -> Arc<Policy> {
        self.policy.read().clone()
    }

    /// What to encrypt a new connection with, if TLS is configured.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.read().clone()
    }
}

impl Policy {
    fn new(config: &Config) -> Result<Self, SecurityError> {
        let scram = config.access.iter().any(|rule| rule.method == Method::Scram);
        match (scram, config.users.is_empty()) {
            (true, true) => tracing::warn!("the access list asks for passwords, and there are no users"),
            (false, false) => {
                tracing::warn!("there are users, and no entry of the access list asks for passwords")
            }
            _ => {}
        }
        let mock_secret = if scram { mock_secret(&config.server.data_dir)? } else { Vec::new() };
        Ok(Self {
            rules: config.access.clone(),
            iterations: most_common(config.users.values().map(Verifier::iterations)),
            users: config.users.clone(),
            mock_secret,
        })
    }

    /// What the access list says; `None`: nothing.
    pub fn decide(&self, client: &Client<'_>) -> Option<Method> {
        access::decide(&self.rules, client)
    }

    /// The user's verifier, or one that no password fits. Takes the same time for both.
    pub fn credentials(&self, user: &str) -> Credentials {
        let mock = Verifier::mock(user, &self.mock_secret, self.iterations);
        match self.users.get(user) {
            Some(verifier) => Credentials { verifier: verifier.clone(), known: true },
            None => Credentials { verifier: mock, known: false },
        }
    }
}

/// Says what an administrator may not have meant. `address`: where the server listens.
pub fn warn_about_exposure(config: &Config, address: SocketAddr) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let from_elsewhere = |rule: &Rule| rule.method != Method::Reject && !rule.address.is_loopback();
    if !config.access.iter().any(from_elsewhere) {
        tracing::warn!(%address, "only clients on this machine are let in: there are no entries [[access]] for others");
    } else if config.tls.certificate.is_none() {
        tracing::warn!(%address, "clients on other machines are served without TLS: others can read along");
    }
}

fn most_common(all: impl Iterator<Item = NonZeroU32>) -> NonZeroU32 {
    let mut counts: HashMap<NonZeroU32, usize> = HashMap::new();
    all.for_each(|iterations| *counts.entry(iterations).or_default() += 1);
    let best = counts.into_iter().max_by_key(|(iterations, count)| (*count, *iterations));
    best.map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations)
}

/// The secret of this data directory; made when it is first needed.
fn mock_secret(data_dir: &Path) -> Result<Vec<u8>, SecurityError> {
    let path = data_dir.join(MOCK_SECRET_FILE);
    let read_or_make = || {
        std::fs::create_dir_all(data_dir)?;
        match std::fs::File::open(&path) {
            Ok(mut file) => {
                let mut secret = Vec::new();
                file.read_to_end(&mut secret)?;
                if secret.len() == SECRET_LENGTH {
                    return Ok(secret);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut secret = vec![0; SECRET_LENGTH];
        rand::rng().fill_bytes(&mut secret);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?.write_all(&secret)?;
        Ok(secret)
    };
    read_or_make().map_err(|source| SecurityError::Secret { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_are_asked_the_same_way_for_ever() {
        let dir = std::env::temp_dir().join(format!("auric-mock-{}", std::process::id()));
        let mut config = Config::default();
        config.server.data_dir.clone_from(&dir);
        config.access = vec![Rule::unset()];
        let iterations = NonZeroU32::new(10_000).unwrap();
        config.users.insert("alice".into(), Verifier::new("secret", b"salt", iterations));
        let ask = |user: &str| Policy::new(&config).unwrap().credentials(user);
        let (first, second) = (ask("nobody"), ask("nobody"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!first.known && ask("alice").known);
        assert_eq!(first.verifier, second.verifier);
        assert_eq!(first.verifier.iterations(), iterations);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nothing_is_written_where_no_passwords_are_asked_for() {
        let dir = std::env::temp_dir().join(format!("auric-no-mock-{}", std::process::id()));
        let mut config = Config::default();
        config.server.data_dir.clone_from(&dir);
        Policy::new(&config).unwrap();
        assert!(!dir.exists());
    }
}
