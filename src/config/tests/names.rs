//! The names that a source had before.

use super::*;

#[test]
fn a_name_of_before_is_of_one_source_and_not_configured() {
    let source = |name: &str, was: &str| {
        let stripe = STRIPE.replace("sources.stripe", &format!("sources.{name}"));
        format!("{stripe}was = {was}\n")
    };
    let text = source("a", r#"["b", "Old"]"#)
        + &source("b", r#"["c", "x"]"#)
        + &source("c", r#"["x", "y", "y"]"#)
        + &source("d", "\"z\"");
    insta::assert_snapshot!(problems(&text, &[("STRIPE", SECRET)]), @r#"
    config.toml:6: sources.a.was: "Old" is not a source's name; use 1 to 40 of a-z, 0-9 and -
    config.toml:12: sources.b.was: "c" is a source that is configured; a source's events stay with it: remove it here, or the source
    config.toml:18: sources.c.was: "x" is in `was` of b too; its events can go on under one name only
    config.toml:18: sources.c.was: names "y" twice; its events can go on under one name only
    config.toml:24: sources.d.was: must be a list of names; write the names it had before, such as ["shop"]
    "#);
    let right = source("a", r#"["x", "y"]"#) + &source("b", r#"["z"]"#);
    let read = load_in(&TempDir::new().unwrap(), &right, &env(&[("STRIPE", SECRET)])).unwrap();
    assert_eq!(read.sources[0].was, ["x", "y"]);
}
