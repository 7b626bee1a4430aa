//! What the layout promises and no compiler checks: who may depend on what, how long a file may get,
//! and that the documents name files that exist.

#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};

use e2e::repository;

/// Production lines a source file may have.
const MAX_LINES: usize = 800;

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn sources(member: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&repository().join(member).join("src"), "rs", &mut found);
    found.retain(|path| !is_test(path));
    assert!(!found.is_empty());
    found
}

/// A file of tests: `tests.rs`, in a folder `tests`, or a module that its parent declares as such.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if stem == "tests" || path.components().any(|part| part.as_os_str() == "tests") {
        return true;
    }
    let parent = path.with_file_name("mod.rs");
    let Ok(parent) = std::fs::read_to_string(parent) else { return false };
    let declares = |line: &str| {
        line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ") == format!("mod {stem};")
    };
    parent.lines().zip(parent.lines().skip(1)).any(|(above, line)| above == "#[cfg(test)]" && declares(line))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

/// The part of a source file before its unit tests.
fn production(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]")
}

#[test]
fn crates_use_only_what_their_layer_may() {
    let forbidden: [(&str, &[&str]); 4] = [
        ("pages", &["auric_", "arrow::", "datafusion", "object_store", "tokio", "anyhow", "std::env::var"]),
        (
            "catalog",
            &[
                "auric_sql",
                "auric_server",
                "pgwire",
                "sqlparser",
                "datafusion::sql",
                "anyhow",
                "std::env::var",
            ],
        ),
        (
            "sql",
            &[
                "auric_server",
                "pgwire",
                "iceberg::",
                "delta_kernel",
                "object_store::",
                "anyhow",
                "std::env::var",
                "SystemTime::now",
                "Utc::now",
            ],
        ),
        (
            "server",
            &["iceberg::", "delta_kernel", "datafusion::sql", "sqlparser", "datafusion::logical_expr"],
        ),
    ];
    let mut offences = Vec::new();
    for (member, words) in forbidden {
        for path in sources(member) {
            for line in production(&read(&path)) {
                let code = line.trim();
                if code.starts_with("//") {
                    continue;
                }
                for word in words {
                    let used = code.find(word).is_some_and(|at| {
                        !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                    });
                    if used {
                        offences.push(format!("{}: {code}", path.display()));
                    }
                }
            }
        }
    }
    assert!(offences.is_empty(), "layers broken:\n{}", offences.join("\n"));
}

#[test]
fn only_the_formats_know_their_libraries() {
    let mut offences = Vec::new();
    for path in sources("catalog") {
        let at = path.display().to_string();
        for (library, home) in [("iceberg::", "format/iceberg"), ("delta_kernel", "format/delta")] {
            let uses = read(&path).lines().any(|line| {
                let code = line.trim();
                code.starts_with(&format!("use {library}")) || code.contains(&format!(" ::{library}"))
            });
            if uses && !at.contains(home) {
                offences.push(format!("{at} uses {library}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long: Vec<_> = ["pages", "catalog", "sql", "server"]
        .into_iter()
        .flat_map(sources)
        .filter_map(|path| {
            let lines = production(&read(&path)).count();
            (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = ["pages", "catalog", "sql", "server"]
        .into_iter()
        .flat_map(sources)
        .filter(|path| !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests"))
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module documentation:\n{}", silent.join("\n"));
}

/// Words in backquotes that look like a path of the repository.
fn named_paths(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| {
            let top = word.split('/').next().unwrap_or_default();
            word.contains('/')
                && !word.contains(char::is_whitespace)
                && !word.contains(['*', '<', '{', '$', '…'])
                && [
                    "pages", "catalog", "sql", "server", "tests", "benches", "docs", "config", ".ci",
                    ".cargo",
                ]
                .contains(&top)
        })
        .map(str::to_string)
        .collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut documents = vec![repository().join("README.md"), repository().join("CHANGELOG.md")];
    walk(&repository().join("docs"), "md", &mut documents);
    let mut missing = Vec::new();
    for document in documents {
        for path in named_paths(&read(&document)) {
            if !repository().join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "documents name what is not there:\n{}", missing.join("\n"));
}
