//! A request as a command that can be pasted into a shell.

use std::path::Path;

use super::super::failure::Failure;
use super::Signed;

/// `curl ..`, with the body from `file` if it is there.
pub(super) fn command(signed: &Signed, file: Option<&Path>) -> Result<String, Failure> {
    let no_text = |what: &str| {
        Failure::new(format!("{what} is not text, which a command line cannot have"))
            .mend("write the body to a file and name that, or use --send")
    };
    let mut lines = vec![format!("curl -i {}", quoted(&signed.url.to_string()))];
    for (name, value) in &signed.headers {
        let value = value.to_str().map_err(|_binary| no_text("a header"))?;
        // curl leaves a header without a value out, unless it ends so.
        let header = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        lines.push(format!("-H {}", quoted(&header)));
    }
    lines.push(if let Some(file) = file {
        let file = file.to_str().ok_or_else(|| no_text("the file's name"))?;
        format!("--data-binary {}", quoted(&format!("@{file}")))
    } else {
        let body = std::str::from_utf8(&signed.body).ok().filter(|body| !body.contains('\0'));
        format!("--data-raw {}", quoted(body.ok_or_else(|| no_text("the body"))?))
    });
    Ok(lines.join(" \\\n  "))
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
