//! What takes the place of secrets where the provider's key is in a certificate: the topics that
//! may call, or what the provider calls our webhook.

use figment::value::Value;

use super::Provider;
use crate::config::problem::{Wrong, wrong};
use crate::config::table::Table;
use crate::config::values::text;
use crate::verify::{Scheme, region_of};

/// Most topics of one source.
const MOST: usize = 100;
/// Longest id of a webhook.
const LONGEST: usize = 128;

/// Reads `topics` and `webhook_id`: the one that the provider needs. Nothing if it is not there.
pub(super) fn names(table: &mut Table<'_>, provider: Provider) -> Option<Vec<String>> {
    let scheme = provider.defaults().verify.scheme;
    let topics = setting(table, provider, "topics", Scheme::AwsSns, topics);
    let webhook = setting(table, provider, "webhook_id", Scheme::Paypal, |value| {
        webhook_id(value).map(|id| vec![id])
    });
    if scheme.is_certified() { topics.or(webhook) } else { Some(Vec::new()) }
}

fn setting(
    table: &mut Table<'_>,
    provider: Provider,
    key: &'static str,
    of: Scheme,
    read: impl FnOnce(&Value) -> Result<Vec<String>, Wrong>,
) -> Option<Vec<String>> {
    if provider.defaults().verify.scheme == of {
        let mend = if of == Scheme::AwsSns {
            "write the topics that may call: [\"arn:aws:sns:eu-central-1:123456789012:orders\"]"
        } else {
            "write what the provider calls this webhook: its id in the dashboard"
        };
        return table.need(key, mend, read);
    }
    if table.take(key).is_some() && !matches!(provider, Provider::Unclear) {
        let cause = format!("is for provider \"{}\" alone", of.word());
        table.add(key, wrong(cause, "remove it"));
    }
    None
}

fn topics(value: &Value) -> Result<Vec<String>, Wrong> {
    let mend = "write ARNs, such as [\"arn:aws:sns:eu-central-1:123456789012:orders\"]";
    let items = value.as_array().ok_or_else(|| wrong("must be a list of topics", mend))?;
    if items.is_empty() {
        return Err(wrong("names no topic: nobody could call", mend));
    }
    if items.len() > MOST {
        return Err(wrong(format!("has more than {MOST} topics"), "make several sources"));
    }
    let topic = |item: &Value| {
        let arn = text(item)?;
        match region_of(arn) {
            Some(_) => Ok(arn.to_owned()),
            None => Err(wrong(format!("\"{arn}\" is not the ARN of a topic"), mend)),
        }
    };
    items.iter().map(topic).collect()
}

fn webhook_id(value: &Value) -> Result<String, Wrong> {
    let id = text(value)?;
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain && (1..=LONGEST).contains(&id.len()) {
        Ok(id.to_owned())
    } else {
        let mend = "write it as the dashboard shows it, such as \"4JH86294D6297924G\"";
        Err(wrong("is not the id of a webhook", mend))
    }
}
