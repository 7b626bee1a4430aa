//! The server's certificate and what TLS with it looks like.

use std::path::Path;
use std::sync::Arc;

use chrono::Utc;
use ring::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use x509_certificate::certificate::CapturedX509Certificate;

use super::scram::EndPoint;
use crate::config::TlsConfig;
use crate::config::value::TlsVersion;

/// The protocol's name in TLS' negotiation (ALPN), as registered with IANA.
pub const ALPN: &[u8] = b"postgresql";

/// What a new connection is encrypted with.
#[derive(Debug)]
pub struct Tls {
    pub config: Arc<ServerConfig>,
    /// What SCRAM binds to; `None`: the hash of the certificate's signature is not defined or not known.
    pub end_point: Option<EndPoint>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct TlsError {
    /// The key of the configuration.
    pub key: &'static str,
    pub reason: String,
}

fn failed(key: &'static str, reason: impl std::fmt::Display) -> TlsError {
    TlsError { key, reason: reason.to_string() }
}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";
const CLIENT_CRL: &str = "tls.client_crl";

/// Reads the files. `None`: no TLS is configured.
pub fn load(config: &TlsConfig) -> Result<Option<Tls>, TlsError> {
    let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else { return Ok(None) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(CERTIFICATE, certificate)?;
    let end_point = chain.first().and_then(describe);
    let private_key = private_key(key)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(config.minimum_version))
        .map_err(|e| failed("tls.minimum_version", e))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let revoked = config.client_crl.as_deref().map_or(Ok(Vec::new()), revocation_lists)?;
            builder.with_client_cert_verifier(client_verifier(path, revoked, provider)?)
        }
    };
    let mut tls = builder
        .with_single_cert(chain, private_key)
        .map_err(|e| failed(CERTIFICATE, format!("cannot be used with the key {key}: {e}")))?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // No resumption, as in Postgres: a session that is resumed would outlive its certificates.
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(Some(Tls { config: Arc::new(tls), end_point }))
}

/// Newest first.
static FROM_1_2: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
static FROM_1_3: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match minimum {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_3,
    }
}

fn certificates(key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    all(key, path, "certificate")
}

fn revocation_lists(path: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    all(CLIENT_CRL, path, "revocation list")
}

/// All items of a kind in a PEM file, of which there must be one.
fn all<T: PemObject>(key: &'static str, path: &str, what: &str) -> Result<Vec<T>, TlsError> {
    let pem = read(key, path)?;
    let found: Result<Vec<_>, _> = T::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(failed(key, format!("no {what} in {path}; PEM is expected"))),
        Err(error) => Err(failed(key, format!("{path} is not PEM: {error}"))),
    }
}

fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(KEY, path)?;
    warn_if_others_can_read(path);
    // The error may quote a line of the file.
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| failed(KEY, format!("no private key in {path}; PEM without a passphrase is expected")))
}

fn read(key: &'static str, path: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| failed(key, format!("cannot read {path}: {e}")))
}

fn warn_if_others_can_read(path: &str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(Path::new(path)).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o007 != 0 {
            tracing::warn!(path, mode = format!("{:o}", mode & 0o777), "every user can read the private key");
        }
    }
}

/// Lets clients show a certificate; one that is shown must be the authorities'.
fn client_verifier(
    path: &str,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path)? {
        roots.add(certificate).map_err(|e| failed(CLIENT_CA, format!("{path}: {e}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .with_crls(revoked)
        .build()
        .map_err(|e| failed(CLIENT_CA, format!("{path}: {e}")))
}

/// Logs what the certificate says of itself, and computes what channels are bound to: its hash, with
/// the hash function of its signature (RFC 5929, section 4.1).
fn describe(certificate: &CertificateDer<'_>) -> Option<EndPoint> {
    let Ok(parsed) = CapturedX509Certificate::from_der(certificate.to_vec()) else {
        tracing::warn!("certificate not understood: no channel binding");
        return None;
    };
    let expires = parsed.validity_not_after();
    if expires < Utc::now() {
        tracing::warn!(%expires, "the server's certificate has expired");
    } else {
        tracing::info!(%expires, "certificate loaded");
    }
    // Object identifiers: PKCS #1 (1.2.840.113549.1.1) and ANSI X9.62 (1.2.840.10045.4).
    let function = match parsed.signature_algorithm_oid().as_ref() {
        // With MD5 and SHA-1, SHA-256 takes their place.
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04" | b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05" => &digest::SHA256,
        b"\x2a\x86\x48\xce\x3d\x04\x01" => &digest::SHA256,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b" | b"\x2a\x86\x48\xce\x3d\x04\x03\x02" => &digest::SHA256,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c" | b"\x2a\x86\x48\xce\x3d\x04\x03\x03" => &digest::SHA384,
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d" | b"\x2a\x86\x48\xce\x3d\x04\x03\x04" => &digest::SHA512,
        // Ed25519 has none; RSA-PSS hides it in its parameters.
        _ => return None,
    };
    Some(digest::digest(function, certificate).as_ref().to_vec())
}

/// The common name of a client's certificate, which the handshake has verified.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    CapturedX509Certificate::from_der(certificate.to_vec()).ok()?.subject_common_name()
}
