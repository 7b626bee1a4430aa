//! Names of protocols and cipher suites as OpenSSL has them, which is how Postgres shows them.

use auric_sql::activity::Encryption;
use rustls::{CipherSuite, ProtocolVersion};

/// `None`: what has no name.
pub fn encryption(version: ProtocolVersion, suite: CipherSuite) -> Option<Encryption> {
    let cipher = openssl_name(suite.as_str()?);
    // `TLSv1_3`.
    Some(Encryption { version: version.as_str()?.replace('_', "."), bits: bits(&cipher), cipher })
}

/// `TLS13_AES_256_GCM_SHA384`, as rustls says, is `TLS_AES_256_GCM_SHA384`;
/// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`, which is of TLS 1.2, `ECDHE-RSA-AES256-GCM-SHA384`.
fn openssl_name(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("TLS13_") {
        return format!("TLS_{rest}");
    }
    let plain = name.strip_prefix("TLS_").unwrap_or(name).replace("_WITH_", "_").replace("AES_", "AES");
    // The hash is understood.
    let plain = plain.strip_suffix("POLY1305_SHA256").map_or(plain.clone(), |rest| format!("{rest}POLY1305"));
    plain.replace('_', "-")
}

fn bits(cipher: &str) -> Option<i32> {
    let known = [("AES128", 128), ("AES_128", 128), ("AES256", 256), ("AES_256", 256), ("CHACHA20", 256)];
    known.iter().find(|(part, _)| cipher.contains(part)).map(|(_, bits)| *bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_openssl() {
        let suites = [
            (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", 256),
            (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", 128),
            (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", 256),
            (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384", 256),
            (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256", 128),
            (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305", 256),
        ];
        for (suite, cipher, bits) in suites {
            let found = encryption(ProtocolVersion::TLSv1_2, suite).unwrap();
            let expected = Encryption { version: "TLSv1.2".into(), cipher: cipher.into(), bits: Some(bits) };
            assert_eq!(found, expected);
        }
    }
}
