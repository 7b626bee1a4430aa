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
    for key in all_keys() {
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
