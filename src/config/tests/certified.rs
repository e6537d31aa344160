//! `topics` and `webhook_id`, which take the place of secrets.

use super::*;

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:orders";

fn source(provider: &str, rest: &str) -> String {
    format!("[sources.a]\nprovider = \"{provider}\"\ntarget = \"http://127.0.0.1:5000\"\n{rest}\n")
}

fn told(provider: &str, rest: &str) -> String {
    problems(&source(provider, rest), &[])
}

#[test]
fn a_certified_provider_has_topics_or_a_webhook_in_place_of_secrets() {
    for (provider, line, shown) in [
        ("aws-sns", format!("topics = [\"{TOPIC}\"]"), format!("topics = [\"{TOPIC}\"]")),
        ("paypal", "webhook_id = \"4JH86294D\"".into(), "webhook_id = \"4JH86294D\"".into()),
    ] {
        let config = good(&source(provider, &line), &[]);
        let source = config.sources.first().unwrap();
        assert_eq!(source.verifier.names().len(), 1);
        let report = config.report();
        assert!(report.to_string().contains(&shown), "{report}");
        let open = report.warnings.iter().any(|it| it.contains("scheme \"none\""));
        assert!(!open, "{:?}", report.warnings);
    }
}

#[test]
fn what_is_wrong_with_them_is_told_with_the_mend() {
    insta::assert_snapshot!(told("aws-sns", ""), @r#"config.toml:1: sources.a.topics: is missing; write the topics that may call: ["arn:aws:sns:eu-central-1:123456789012:orders"]"#);
    insta::assert_snapshot!(told("paypal", ""), @"config.toml:1: sources.a.webhook_id: is missing; write what the provider calls this webhook: its id in the dashboard");
    insta::assert_snapshot!(told("aws-sns", "topics = []"), @r#"config.toml:4: sources.a.topics: names no topic: nobody could call; write ARNs, such as ["arn:aws:sns:eu-central-1:123456789012:orders"]"#);
    insta::assert_snapshot!(told("aws-sns", "topics = \"orders\""), @r#"config.toml:4: sources.a.topics: must be a list of topics; write ARNs, such as ["arn:aws:sns:eu-central-1:123456789012:orders"]"#);
    insta::assert_snapshot!(told("aws-sns", "topics = [\"orders\"]\nwebhook_id = \"a\""), @r#"
    config.toml:4: sources.a.topics: "orders" is not the ARN of a topic; write ARNs, such as ["arn:aws:sns:eu-central-1:123456789012:orders"]
    config.toml:5: sources.a.webhook_id: is for provider "paypal" alone; remove it
    "#);
    insta::assert_snapshot!(told("paypal", "webhook_id = \"a|b\""), @r#"config.toml:4: sources.a.webhook_id: is not the id of a webhook; write it as the dashboard shows it, such as "4JH86294D6297924G""#);
    insta::assert_snapshot!(told("paypal", &format!("webhook_id = \"a\"\nsecrets = [\"{SECRET}\"]")), @"config.toml:5: sources.a.secrets: the provider's key is in a certificate that is fetched: there is no secret; remove them");
    let secrets = format!("topics = [\"{TOPIC}\"]\nsecrets = [\"{SECRET}\"]");
    insta::assert_snapshot!(told("stripe", &secrets), @r#"config.toml:4: sources.a.topics: is for provider "aws-sns" alone; remove it"#);
    let custom = "[sources.a.verify]\nscheme = \"aws-sns\"\nsignature = \"json:/Signature\"\nsigned = \"{sns}\"";
    insta::assert_snapshot!(told("custom", custom), @r#"
    config.toml:1: sources.a.key: is missing: provider "custom" needs it, with parts; add [sources.a.key]
    config.toml:5: sources.a.verify.scheme: "aws-sns" is a preset's alone; write provider = "aws-sns"
    "#);
}
