//! `[sources.NAME.batch]`, and what is said of it.

use super::*;

fn custom(batch: &str, mode: &str, key: &str) -> String {
    format!(
        "[sources.a]\nprovider = \"custom\"\nsecrets = [\"{SECRET}\"]\ntarget = \"http://127.0.0.1:5000\"\nmode = \"{mode}\"\n\
         [sources.a.verify]\nscheme = \"hmac-sha256\"\nheader = \"X-Sig\"\n\
         [sources.a.key]\nparts = [\"{key}\"]\n[sources.a.batch]\n{batch}\n"
    )
}

fn told(batch: &str, key: &str) -> String {
    problems(&custom(batch, "queue", key), &[])
}

#[test]
fn a_custom_source_may_have_batches() {
    for (pointer, mode) in [("/events", "queue"), ("", "queue"), ("/a~1b/0", "proxy")] {
        let text = custom(&format!("elements = \"{pointer}\""), mode, "json:/id");
        let config = good(&text, &[]);
        let source = config.sources.first().unwrap();
        assert_eq!(source.batch.as_ref().unwrap().elements.to_string(), pointer);
        assert_eq!(source.splits(), mode == "queue");
        let report = config.report();
        assert!(
            report.to_string().contains(&format!("[sources.a.batch]\nelements = \"{pointer}\""))
        );
        let warned = report.warnings.iter().any(|it| {
            it.contains("in proxy mode a batch is one event, keyed by its elements' keys in order")
        });
        assert_eq!(warned, mode == "proxy", "{:?}", report.warnings);
    }
}

#[test]
fn what_is_wrong_with_a_batch_is_told_with_its_field() {
    insta::assert_snapshot!(told("elements = \"events\"", "json:/id"), @r#"config.toml:12: sources.a.batch.elements: is "events", which is no JSON pointer (/a/0, with ~0 for ~ and ~1 for /)"#);
    insta::assert_snapshot!(told("", "json:/id"), @"config.toml:11: sources.a.batch.elements: is missing");
    insta::assert_snapshot!(told("element = \"/events\"", "json:/id"), @"config.toml:12: sources.a.batch.element: is not a setting; did you mean `elements`?");
    insta::assert_snapshot!(told("elements = 1\nmore = 2", "json:/id"), @r"
    config.toml:12: sources.a.batch.elements: invalid type: found signed int `1`, expected a string
    config.toml:13: sources.a.batch.more: is not a setting; known here: elements
    ");
    insta::assert_snapshot!(told("elements = \"/events\"", "form:id"), @"config.toml:10: sources.a.key.parts: has a form: part, but the elements of a batch are JSON; write json:/pointer, which is of the element");
    insta::assert_snapshot!(told("elements = \"/events\"", "header:X-Id"), @"config.toml:10: sources.a.key.parts: has no json: part, so all elements of a batch would be one event; write json:/pointer, which is of the element");
    let not_a_table = custom("", "queue", "json:/id").replace("[sources.a.batch]", "");
    let not_a_table =
        not_a_table.replace("[sources.a.verify]", "batch = \"/events\"\n[sources.a.verify]");
    insta::assert_snapshot!(problems(&not_a_table, &[]), @"config.toml:6: sources.a.batch: must be a table");
    let preset = format!("{STRIPE}[sources.stripe.batch]\nelements = \"/events\"");
    insta::assert_snapshot!(problems(&preset, &[("STRIPE", SECRET)]), @r#"config.toml:6: sources.stripe.batch: the preset knows whether there are batches; remove it, or write provider = "custom""#);
}

/// What is signed and what is an event must be the same elements.
#[test]
fn elements_that_are_signed_each_by_itself_are_those_of_the_batch() {
    let each = |batch: &str| {
        let text = custom(batch, "queue", "json:/id");
        text.replace("header = \"X-Sig\"", "header = \"X-Sig\"\neach = \"/items\"")
    };
    let same = each("elements = \"/items\"");
    assert_eq!(good(&same, &[]).sources.len(), 1);
    let other = problems(&each("elements = \"/others\""), &[]);
    assert!(
        other.contains("sources.a.verify.each: is not where [batch] has its elements"),
        "{other}"
    );
    let alone =
        each("elements = \"/items\"").replace("[sources.a.batch]\nelements = \"/items\"", "");
    assert!(problems(&alone, &[]).contains("sources.a.verify.each"), "without a batch too");
}

#[test]
fn a_guard_that_would_not_see_the_elements_of_a_batch_is_refused() {
    let guarded = |mode: &str| {
        let text = custom("elements = \"/events\"", mode, "json:/id");
        text.replace("[sources.a.verify]", "replay_guard = \"flag\"\n[sources.a.verify]")
    };
    let told = problems(&guarded("queue"), &[]);
    assert!(told.contains("sources.a.replay_guard: guards single events"), "{told}");
    assert_eq!(good(&guarded("proxy"), &[]).sources.len(), 1, "there it is one event");
}
