//! What a package installs beside the binary: completions of the shells and manual pages.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::failure::Failure;
use super::out;

/// The script that completes commands in `shell`.
pub(crate) fn completions(mut cli: Command, shell: Shell) -> Result<(), Failure> {
    // Written to memory first: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "oncegate", &mut script);
    out::bytes(&script)
}

/// The main manual page, or every page into `folder`.
pub(crate) fn man(cli: Command, folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(cli).render(&mut page).map_err(Failure::new)?;
        return out::bytes(&page);
    };
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(cli, folder));
    written.map_err(|why| {
        Failure::new(format!("cannot write to {}: {why}", folder.display()))
            .mend("name a folder that can be written with --out")
    })
}
