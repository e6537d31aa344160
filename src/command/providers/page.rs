//! `oncegate providers --markdown`: the presets as a page of the documents.

use std::fmt::{self, Write as _};

use oncegate::config::write_duration;
use oncegate::preset::{self, Preset};

use super::{facts, mode};

const ABOUT: &str = "\
# Providers

<!-- Made by `oncegate providers --markdown` from src/presets; not to be edited. -->

What each preset takes for a fact, and from where. `provider = \"NAME\"` in a source is all it needs
beside its secrets and its target:

";

const COLUMNS: &str = "
A provider that is not here has no preset, but may well have plain HMAC: see
[adding a provider](adding-a-provider.md).

Facts are **vectors** (checked against test vectors that the provider publishes), **library** (read in
the provider's own library), **documents** (read in its documents only) or **reports** (told by others;
how it signs could not be read in a text of the provider's own). *Key signed*: whether the signature
covers what events are told apart by. Where it does not, whoever holds one signed request can send it
again under another key.

| `provider` | | scheme | key signed | retries | mode | `wait` | `ttl` | facts |
|---|---|---|---|---|---|---:|---:|---|
";

/// The page.
pub(super) fn page() -> Result<String, fmt::Error> {
    let mut page = ABOUT.to_owned();
    let usual = preset::find("stripe").map(facts::settings).unwrap_or_default();
    writeln!(page, "```toml\n{usual}\n```")?;
    page += COLUMNS;
    preset::all().iter().try_for_each(|preset| row(&mut page, preset))?;
    preset::all().iter().try_for_each(|preset| section(&mut page, preset))?;
    Ok(page)
}

fn row(page: &mut String, preset: &Preset) -> fmt::Result {
    writeln!(
        page,
        "| [`{name}`](#{name}) | {} | {} | {} | {} | {} | {} | {} | {}, {} |",
        preset.title,
        preset.verify.scheme.word(),
        if preset.signs_its_key() { "yes" } else { "no" },
        if preset.retries { "yes" } else { "no" },
        mode(preset.mode),
        write_duration(preset.wait),
        write_duration(preset.ttl),
        preset.facts.confidence.word(),
        preset.facts.date,
        name = preset.name,
    )
}

fn section(page: &mut String, preset: &Preset) -> fmt::Result {
    let Preset { name, title, facts: known, .. } = preset;
    writeln!(page, "\n## {name}\n\n{title}.\n")?;
    for (word, fact) in facts::of(preset) {
        writeln!(page, "- {word}: {}", fact.replace('|', "\\|"))?;
    }
    let settings = facts::settings(preset);
    // The usual ones are at the top of the page.
    if settings.contains("server")
        || !settings.contains("_SECRET\" }]")
        || settings.contains("verify_token")
    {
        writeln!(page, "\n```toml\n{settings}\n```")?;
    }
    list(page, "To know", &known.notes)?;
    list(page, "Unconfirmed", &known.unconfirmed)?;
    let links: Vec<_> = known.sources.iter().map(|url| format!("<{url}>")).collect();
    list(page, "Sources", &links)
}

fn list(page: &mut String, heading: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n{heading}:\n")?;
    items.iter().try_for_each(|item| writeln!(page, "- {item}"))
}
