use super::*;

const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

/// Salt and password of RFC 7677, section 3.
fn verifier() -> Verifier {
    Verifier::new("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), DEFAULT_ITERATIONS)
}

fn begin(mechanism: &str, client_first: &str, end_point: Option<&EndPoint>) -> Result<Exchange, ScramError> {
    Exchange::begin(verifier(), end_point, mechanism, client_first, SERVER_NONCE)
}

/// The exchange of RFC 7677, section 3, byte for byte.
#[test]
fn test_vector_of_the_specification() {
    let exchange = begin(SCRAM_SHA_256, CLIENT_FIRST, None).unwrap();
    assert_eq!(
        exchange.server_first(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let server_final = exchange.finish(CLIENT_FINAL).unwrap();
    assert_eq!(server_final.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
}

#[test]
fn a_wrong_password_is_no_error() {
    let other = Verifier::new("pencils", &verifier().salt, DEFAULT_ITERATIONS);
    let exchange = Exchange::begin(other, None, SCRAM_SHA_256, CLIENT_FIRST, SERVER_NONCE).unwrap();
    assert_eq!(exchange.finish(CLIENT_FINAL), Ok(None));
}

#[test]
fn verifiers_have_the_form_that_postgres_stores() {
    // Stored and server key as Python's hashlib computes them for the vector of RFC 7677.
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(verifier().to_text(), text);
    assert_eq!(text.parse(), Ok(verifier()));
    assert!(!format!("{:?}", verifier()).contains("WG5d"));
}

#[test]
fn what_is_no_verifier_is_refused() {
    let good = verifier().to_text();
    let bad = [
        "",
        "secret",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        "SCRAM-SHA-256$0:W22Z$WG5d:wfPL",
        &good.replace("4096", "0"),
        &good.replace("4096", "-1"),
        &good.replace("4096", "99999999999"),
        &good.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        &good[..good.len() - 4],
        &format!("{good}AAAA"),
    ];
    for text in bad {
        assert_eq!(text.parse::<Verifier>(), Err(InvalidVerifier), "{text}");
    }
}

#[test]
fn passwords_are_prepared() {
    let of = |password| Verifier::new(password, b"salt", DEFAULT_ITERATIONS);
    // RFC 4013, section 3: soft hyphen mapped to nothing, feminine ordinal to "a", Roman nine to "IX".
    assert_eq!(of("I\u{ad}X"), of("IX"));
    assert_eq!(of("\u{aa}"), of("a"));
    assert_eq!(of("\u{2168}"), of("IX"));
    // Prohibited: taken as it is.
    assert_ne!(of("\u{7}"), of(""));
}

#[test]
fn unknown_users_look_like_known_ones() {
    let mock = Verifier::mock("nobody", b"secret", DEFAULT_ITERATIONS);
    assert_eq!(mock, Verifier::mock("nobody", b"secret", DEFAULT_ITERATIONS));
    assert_ne!(mock.salt, Verifier::mock("nobody", b"another", DEFAULT_ITERATIONS).salt);
    assert_ne!(mock.salt, Verifier::mock("somebody", b"secret", DEFAULT_ITERATIONS).salt);
    assert_eq!(mock.salt.len(), SALT_LENGTH);
    let exchange = Exchange::begin(mock, None, SCRAM_SHA_256, CLIENT_FIRST, SERVER_NONCE).unwrap();
    assert_eq!(exchange.finish(CLIENT_FINAL), Ok(None));
}

#[test]
fn channel_binding() {
    let end_point: EndPoint = vec![1, 2, 3];
    let bare = "n=,r=abc";
    let first = |flag: &str| format!("{flag},,{bare}");
    let plus = first("p=tls-server-end-point");
    assert_eq!(mechanisms(Some(&end_point)), [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]);
    assert_eq!(mechanisms(None), [SCRAM_SHA_256]);

    // The data is the header and the hash; anything else is a man in the middle.
    let with = |data: &[u8]| format!("c={},r=abc{SERVER_NONCE},p=AAAA", STANDARD.encode(data));
    let ours = with(b"p=tls-server-end-point,,\x01\x02\x03");
    let finish = |text: &str| begin(SCRAM_SHA_256_PLUS, &plus, Some(&end_point)).unwrap().finish(text);
    assert_eq!(finish(&ours), Err(ScramError::Malformed("invalid proof")));
    assert_eq!(finish(&with(b"p=tls-server-end-point,,\x01\x02\x04")), Err(ScramError::BindingMismatch));
    assert_eq!(finish(&with(b"n,,")), Err(ScramError::BindingMismatch));

    let refused = |mechanism, first: &str, end_point| begin(mechanism, first, end_point).unwrap_err();
    assert_eq!(refused(SCRAM_SHA_256, &first("y"), Some(&end_point)), ScramError::Downgrade);
    assert!(begin(SCRAM_SHA_256, &first("y"), None).is_ok());
    assert!(begin(SCRAM_SHA_256, &first("n"), Some(&end_point)).is_ok());
    assert_eq!(refused(SCRAM_SHA_256_PLUS, &plus, None), ScramError::Mechanism);
    assert_eq!(
        refused(SCRAM_SHA_256_PLUS, &first("p=tls-unique"), Some(&end_point)),
        ScramError::BindingType
    );
    assert!(matches!(refused(SCRAM_SHA_256, &plus, Some(&end_point)), ScramError::Malformed(_)));
    assert!(matches!(refused(SCRAM_SHA_256_PLUS, &first("n"), Some(&end_point)), ScramError::Malformed(_)));
}

#[test]
fn messages_that_break_the_rules() {
    let refused = |first: &str| begin(SCRAM_SHA_256, first, None).unwrap_err();
    assert_eq!(refused("n,a=other,n=user,r=abc"), ScramError::AuthorizationIdentity);
    assert_eq!(refused("n,,m=ext,n=user,r=abc"), ScramError::Extension);
    for first in
        ["", "n", "n,", "n,,", "n,,n=user", "n,,r=abc", "n,,n=user,r=", "n,,n=user,r=a b", "z,,n=,r=a"]
    {
        assert!(matches!(refused(first), ScramError::Malformed(_)), "{first}");
    }
    let finish = |text: &str| begin(SCRAM_SHA_256, CLIENT_FIRST, None).unwrap().finish(text);
    assert_eq!(finish(&CLIENT_FINAL.replace("r=rO", "r=r0")), Err(ScramError::Nonce));
    assert_eq!(finish(&CLIENT_FINAL.replace("biws", "eSws")), Err(ScramError::BindingMismatch));
    let junk = format!("{CLIENT_FINAL}AAAA");
    for text in ["", "c=biws", "p=AAAA", ",p=AAAA", junk.as_str(), &CLIENT_FINAL[..CLIENT_FINAL.len() - 4]] {
        assert!(matches!(finish(text), Err(ScramError::Malformed(_))), "{text}");
    }
}
