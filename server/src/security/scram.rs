//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as the server does it: verifiers in Postgres' form, and the
//! exchange with a client. Pure logic: no socket, no clock; salts and nonces are given.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// Mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism with channel binding `tls-server-end-point` (RFC 5929).
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Rounds of PBKDF2 that Postgres uses too.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);
/// Length of a salt, bytes (`SCRAM_DEFAULT_SALT_LEN` of Postgres).
pub const SALT_LENGTH: usize = 16;
const KEY_LENGTH: usize = 32;

type Key = [u8; KEY_LENGTH];

/// What is stored instead of a password: `SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, as in
/// Postgres' `pg_authid.rolpassword`. The password cannot be computed from it, but who has it can pose
/// as the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// A text is no verifier. Does not repeat the text, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a verifier that begins with \"SCRAM-SHA-256$\"; `auric hash-password` makes one")]
pub struct InvalidVerifier;

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

impl FromStr for Verifier {
    type Err = InvalidVerifier;

    fn from_str(text: &str) -> Result<Self, InvalidVerifier> {
        let parts = || {
            let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let (iterations, salt) = parameters.split_once(':')?;
            let (stored_key, server_key) = keys.split_once(':')?;
            // libpq takes no more than an int.
            let iterations =
                iterations.parse::<i32>().ok().and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?))?;
            let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
            Some(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
        };
        parts().ok_or(InvalidVerifier)
    }
}

fn key(text: &str) -> Option<Key> {
    Key::try_from(STANDARD.decode(text).ok()?).ok()
}

impl Verifier {
    /// Hashes a password. Text that SASLprep (RFC 4013) refuses is taken as it is, as by Postgres and
    /// libpq.
    pub fn new(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; KEY_LENGTH];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, prepared.as_bytes(), &mut salted);
        let client_key = mac(&salted, &[b"Client Key"]);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: hash(&client_key),
            server_key: mac(&salted, &[b"Server Key"]),
        }
    }

    /// What a user that does not exist is asked with: looks like a real one, is always the same for a
    /// name, and no password fits.
    pub fn mock(user: &str, secret: &[u8], iterations: NonZeroU32) -> Self {
        let salt = mac(secret, &[b"salt", user.as_bytes()]);
        Self {
            iterations,
            salt: salt.get(..SALT_LENGTH).unwrap_or_default().to_vec(),
            stored_key: mac(secret, &[b"stored key", user.as_bytes()]),
            server_key: mac(secret, &[b"server key", user.as_bytes()]),
        }
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// The form in which it is stored. A secret.
    pub fn to_text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    sized(context.sign().as_ref())
}

fn hash(bytes: &[u8]) -> Key {
    sized(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256's output is as long as a key.
fn sized(bytes: &[u8]) -> Key {
    let mut key = [0; KEY_LENGTH];
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}

/// The client's messages do not follow the protocol, or ask for what there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed(&'static str),
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    #[error("client requires an unsupported SCRAM extension")]
    Extension,
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    /// The client believes that the server cannot bind channels, which the server has said it can:
    /// somebody between the two changed the list of mechanisms.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    #[error("SCRAM channel binding check failed")]
    BindingMismatch,
    #[error("invalid SCRAM response")]
    Nonce,
}

/// The server's end of the TLS channel, where there is one to bind to: the hash of its certificate
/// (RFC 5929, section 4).
pub type EndPoint = Vec<u8>;

/// Mechanisms to offer, best first.
pub fn mechanisms(end_point: Option<&EndPoint>) -> Vec<String> {
    let plus = end_point.map(|_| SCRAM_SHA_256_PLUS.to_string());
    plus.into_iter().chain([SCRAM_SHA_256.to_string()]).collect()
}

/// An exchange after the client's first message.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    /// What the client must repeat in `c=`, in Base64.
    binding: String,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Exchange {
    /// Takes the client's first message. `server_nonce`: random, printable, without a comma.
    pub fn begin(
        verifier: Verifier,
        end_point: Option<&EndPoint>,
        mechanism: &str,
        client_first: &str,
        server_nonce: &str,
    ) -> Result<Self, ScramError> {
        let plus = match (mechanism, end_point) {
            (SCRAM_SHA_256, _) => None,
            (SCRAM_SHA_256_PLUS, Some(end_point)) => Some(end_point),
            _ => return Err(ScramError::Mechanism),
        };
        let (flag, rest) = client_first.split_once(',').ok_or(ScramError::Malformed("no GS2 header"))?;
        match (flag, plus) {
            ("p=tls-server-end-point", Some(_)) | ("n", None) => {}
            ("y", None) if end_point.is_none() => {}
            ("y", None) => return Err(ScramError::Downgrade),
            (_, Some(_)) if flag.starts_with("p=") => return Err(ScramError::BindingType),
            _ => return Err(ScramError::Malformed("channel-binding flag does not fit the mechanism")),
        }
        let bare = match rest.strip_prefix(',') {
            Some(bare) => bare,
            None if rest.starts_with("a=") => return Err(ScramError::AuthorizationIdentity),
            None => return Err(ScramError::Malformed("invalid GS2 header")),
        };
        let client_nonce = client_nonce(bare)?;
        let nonce = format!("{client_nonce}{server_nonce}");
        let server_first =
            format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let mut binding = format!("{flag},,").into_bytes();
        binding.extend(plus.into_iter().flatten());
        Ok(Self {
            verifier,
            binding: STANDARD.encode(binding),
            nonce,
            client_first_bare: bare.to_string(),
            server_first,
        })
    }

    /// The server's first message.
    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Takes the client's final message. The server's final message if the password was right, `None`
    /// if not.
    pub fn finish(self, client_final: &str) -> Result<Option<String>, ScramError> {
        let (without_proof, proof) =
            client_final.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("c="))
            .ok_or(ScramError::Malformed("no channel-binding data"))?;
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .ok_or(ScramError::Malformed("no nonce"))?;
        if binding != self.binding {
            return Err(ScramError::BindingMismatch);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let proof = key(proof).ok_or(ScramError::Malformed("invalid proof"))?;
        let message: [&[u8]; 5] = [
            self.client_first_bare.as_bytes(),
            b",",
            self.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let signature = mac(&self.verifier.stored_key, &message);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        if !bool::from(hash(&client_key).ct_eq(&self.verifier.stored_key)) {
            return Ok(None);
        }
        Ok(Some(format!("v={}", STANDARD.encode(mac(&self.verifier.server_key, &message)))))
    }
}

/// Nonce in the client's first message. The user name in it is not looked at: the startup message has
/// told it (as in Postgres; libpq leaves it empty).
fn client_nonce(bare: &str) -> Result<&str, ScramError> {
    if bare.starts_with("m=") {
        return Err(ScramError::Extension);
    }
    let mut attributes = bare.split(',');
    if !attributes.next().is_some_and(|name| name.starts_with("n=")) {
        return Err(ScramError::Malformed("no user name"));
    }
    let nonce = attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix("r="))
        .ok_or(ScramError::Malformed("no nonce"))?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ScramError::Malformed("non-printable characters in the nonce"));
    }
    Ok(nonce)
}

#[cfg(test)]
mod tests;
