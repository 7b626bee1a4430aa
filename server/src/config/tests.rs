use super::load::all_keys;
use super::*;

fn no_environment() -> [(String, String); 0] {
    []
}

fn environment(name: &str, value: &str) -> [(String, String); 1] {
    [(name.to_string(), value.to_string())]
}

/// The shipped file with its settings in force: `#key = value` lines lose their `#`.
fn uncommented() -> String {
    let setting = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    SHIPPED.lines().map(|line| if setting(&line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_file_is_the_defaults() {
    assert_eq!(load(SHIPPED, no_environment()).unwrap(), Config::default());
    assert_eq!(load(&uncommented(), no_environment()).unwrap(), Config::default());
}

#[test]
fn shipped_file_has_every_key() {
    let table: toml::Table = toml::from_str(&uncommented()).unwrap();
    let mut keys = all_keys();
    // Entries of the access list: the keys of the first.
    let first = table["access"][0].as_table().unwrap();
    keys.retain(|key| key.strip_prefix("access.0.").is_none_or(|key| !first.contains_key(key)));
    for key in keys {
        let mut value = Some(&table);
        let mut found = false;
        for part in key.split('.') {
            match value.and_then(|table| table.get(part)) {
                Some(toml::Value::Table(inner)) => value = Some(inner),
                leaf => {
                    found = leaf.is_some();
                    value = None;
                }
            }
        }
        assert!(found, "{key} is missing in config/auric.toml");
    }
}

#[test]
fn unknown_keys_get_a_suggestion() {
    let mistakes = load("[server]\nlisten_addr = \"x\"\n[qeury]\nnice = 1", no_environment()).unwrap_err();
    let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(texts.contains(&"qeury.nice: unknown key; did you mean query.nice?".to_string()), "{texts:?}");
    assert!(
        texts.iter().any(|t| t.starts_with("server.listen_addr: unknown key; did you mean")),
        "{texts:?}"
    );
}

#[test]
fn all_mistakes_are_told() {
    let text = "[server]\nmax_connections = -1\nlisten = \"nowhere\"\n[query]\nmemory_limit = \"lots\"\n\
                [catalogs.events]\ntype = \"delta\"\n[log]\nformat = \"xml\"";
    let mistakes = load(text, no_environment()).unwrap_err();
    let mut keys: Vec<&str> = mistakes.iter().map(|m| m.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "catalogs.events.root",
            "log.format",
            "query.memory_limit",
            "server.listen",
            "server.max_connections"
        ]
    );
}

#[test]
fn environment_wins() {
    let text = "[query]\nstatement_timeout = \"1s\"";
    let config = load(text, environment("AURIC_QUERY__STATEMENT_TIMEOUT", "2m")).unwrap();
    assert_eq!(config.query.statement_timeout, Duration::from_secs(120));
    let config = load("", environment("AURIC_CATALOGS__EVENTS__WAREHOUSE", "s3://b/w")).unwrap();
    assert_eq!(config.catalogs["events"].warehouse.as_deref(), Some("s3://b/w"));
    let mistakes = load("", environment("AURIC_SERVER__LISTN", "x")).unwrap_err();
    assert_eq!(mistakes[0].to_string(), "AURIC_SERVER__LISTN: unknown key; did you mean server.listen?");
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let file = std::env::temp_dir().join(format!("auric-secret-{}", std::process::id()));
    std::fs::write(&file, "hush\n").unwrap();
    let text = format!("[storage.s3]\nsecret_access_key = \"file:{}\"", file.display());
    let config = load(&text, no_environment()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(config.storage.s3.secret_access_key.as_ref().unwrap().reveal(), "hush");
    assert!(!format!("{config:?}").contains("hush"));
    let mistakes = load("[storage.s3]\nsecret_access_key = [\"hush\"]", no_environment()).unwrap_err();
    assert!(!mistakes[0].to_string().contains("hush"));
}

#[test]
fn broken_toml_names_the_line() {
    let mistakes = load("[server]\nlisten = ", no_environment()).unwrap_err();
    assert!(mistakes[0].message.starts_with("line 2: not valid TOML"), "{mistakes:?}");
}

const ALICE: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                     WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[test]
fn users_have_verifiers_only() {
    let config = load(&format!("[users.\"al.ice\"]\npassword = \"{ALICE}\""), no_environment()).unwrap();
    assert_eq!(config.users["al.ice"].to_text(), ALICE);
    assert!(!format!("{config:?}").contains("WG5d"));
    let config = load("", environment("AURIC_USERS__ALICE__PASSWORD", ALICE)).unwrap();
    assert!(config.users.contains_key("alice"));
    for text in [
        "[users.alice]\npassword = \"hunter2\"",
        "[users]\nalice = \"hunter2\"",
        "[users.alice]\npass = \"hunter2\"",
    ] {
        let mistakes = load(text, no_environment()).unwrap_err();
        assert!(mistakes[0].key.starts_with("users.alice"), "{mistakes:?}");
        assert!(!mistakes[0].message.contains("hunter2"), "{mistakes:?}");
    }
}

#[test]
fn access_list_in_order() {
    use crate::security::access::{ConnectionKind, Method};
    let entry =
        |n: u8| format!("[[access]]\ntype = \"hostnossl\"\nuser = \"u{n}\"\naddress = \"10.0.0.{n}\"\n");
    let text: String = (0..12).map(entry).collect();
    let config = load(&text, environment("AURIC_ACCESS__12__METHOD", "reject")).unwrap();
    assert_eq!(config.access.len(), 13);
    for (n, rule) in config.access.iter().take(12).enumerate() {
        assert_eq!((rule.kind, rule.method), (ConnectionKind::Plain, Method::Scram));
        assert_eq!((&rule.user.0, rule.address.0.len()), (&vec![format!("u{n}")], 1));
        assert_eq!(rule.address.0[0].to_string(), format!("10.0.0.{n}/32"));
    }
    assert_eq!(config.access[12].method, Method::Reject);
    let lists = "[[access]]\nuser = [\"a\", \"b\"]\ndatabase = \"x, y\"\naddress = [\"::1\", \"10.0.0.0/8\"]";
    let rule = load(lists, no_environment()).unwrap().access.remove(0);
    assert_eq!((rule.user.0.len(), rule.database.0.len(), rule.address.0.len()), (2, 2, 2));
}

#[test]
fn mistakes_in_the_access_list() {
    let keys = |text: &str| -> Vec<String> {
        load(text, no_environment()).unwrap_err().into_iter().map(|mistake| mistake.key).collect()
    };
    assert_eq!(keys("[[access]]\nmethod = \"trust\""), ["access.0.method"]);
    assert_eq!(keys("[[access]]\nmethod = \"trust\"\naddress = \"10.0.0.0/8\""), ["access.0.method"]);
    assert_eq!(keys("[[access]]\nmethod = \"md5\""), ["access.0.method"]);
    assert_eq!(keys("[[access]]\ntype = \"local\""), ["access.0.type"]);
    assert_eq!(keys("[[access]]\ntype = \"hostssl\""), ["access.0.type"]);
    assert_eq!(keys("[[access]]\nmethod = \"cert\""), ["access.0.type", "access.0.method"]);
    assert_eq!(keys("[[access]]\naddress = \"10.0.0.0/33\""), ["access.0.address"]);
    assert_eq!(keys("[[access]]\naddress = \"localhost\""), ["access.0.address"]);
    assert_eq!(keys("[[access]]\nuser = \"+admins\""), ["access.0.user"]);
    assert_eq!(keys("[[access]]\nuser = []"), ["access.0.user"]);
    assert_eq!(keys("[[access]]\nusr = \"a\""), ["access.0.usr"]);
    assert_eq!(keys("[[access]]"), ["access.0"]);
    assert_eq!(keys("access = []"), ["access"]);
    assert_eq!(keys("access = \"all\""), ["access"]);
    let gap = load("", environment("AURIC_ACCESS__1__METHOD", "reject")).unwrap_err();
    assert_eq!(gap[0].key, "access");
}

#[test]
fn tls_needs_both_of_its_files() {
    let keys = |text: &str| -> Vec<String> {
        load(text, no_environment()).unwrap_err().into_iter().map(|mistake| mistake.key).collect()
    };
    assert_eq!(keys("[tls]\ncertificate = \"a\""), ["tls.key"]);
    assert_eq!(keys("[tls]\nkey = \"a\""), ["tls.certificate"]);
    assert_eq!(keys("[tls]\nclient_ca = \"a\""), ["tls.certificate"]);
    assert_eq!(keys("[tls]\nclient_crl = \"a\""), ["tls.client_ca"]);
    assert_eq!(keys("[tls]\nminimum_version = \"1.1\""), ["tls.minimum_version"]);
}
