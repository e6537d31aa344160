//! Settings: whatever is written, an answer, and never a secret in it.

use oncegate::config::{Config, Environment};

const SECRET: &str = "whsec_Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5";

/// A file; after a line `---`, lines of `NAME=VALUE`. The variable `S` is a secret.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Nothing is read from where the fuzzer points.
    if text.contains("file") || text.contains("credential") || text.contains(SECRET) {
        return;
    }
    let (text, variables) = text.split_once("\n---\n").unwrap_or((text, ""));
    let mut env: Environment = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    env.insert("S".to_owned(), SECRET.to_owned());

    let told = told(text, &env);
    assert!(!told.contains(SECRET), "{told}");
    assert_eq!(told, self::told(text, &env), "not the same twice");
}

/// Everything that can be seen of the settings.
fn told(text: &str, env: &Environment) -> String {
    match Config::parse(text, env) {
        Ok(config) => {
            let report = config.report();
            format!("{config:?}\n{report}\n{:#}", report.to_json())
        },
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.trim().is_empty(), "refused without a reason");
            format!("{told}\n{errors:?}")
        },
    }
}
