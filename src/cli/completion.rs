//! `portcullis completion`: what a shell needs to complete the command line.

use clap::{Args, Command};
use clap_complete::Shell;
use std::io::{self, Write as _};

/// Print the completion script of a shell
#[derive(Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  portcullis completion bash > ~/.local/share/bash-completion/completions/portcullis
  portcullis completion zsh > ~/.zfunc/_portcullis
  portcullis completion fish > ~/.config/fish/completions/portcullis.fish")]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Standard output was closed, or is full.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct CompletionCommandError(#[from] io::Error);

/// Runs the command for this command line.
pub fn run(args: CompletionArgs, program: &mut Command) -> Result<(), CompletionCommandError> {
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(args.shell, program, name, &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}
