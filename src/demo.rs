//! `oncegate demo`.

/// Runs the demo; true if every promise held.
pub async fn run(once: bool, mut say: impl FnMut(&str)) -> anyhow::Result<bool> {
    let _ = once;
    say("not yet");
    Ok(true)
}
