//! `completions` and `man`: the command line's own documentation, from its one definition.

use super::args::Args;
use super::{FAILED, fail};
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io::{self, Write};
use std::process::ExitCode;

/// For whom.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    shell: clap_complete::Shell,
}

/// Prints the completions of a shell.
pub fn completions(options: &Options) -> ExitCode {
    let mut text = vec![];
    clap_complete::generate(options.shell, &mut Args::command(), "spanloom", &mut text);
    print(&text)
}

/// Prints the man page: one for all commands.
pub fn man() -> ExitCode {
    match page() {
        Ok(text) => print(&text),
        Err(error) => fail(FAILED, format!("the man page cannot be made: {error}")),
    }
}

fn page() -> io::Result<Vec<u8>> {
    let mut text = vec![];
    let mut command = Args::command();
    command.build();
    let whole = Man::new(command.clone());
    whole.render_title(&mut text)?;
    whole.render_name_section(&mut text)?;
    whole.render_synopsis_section(&mut text)?;
    whole.render_options_section(&mut text)?;
    Roff::new().control("SH", ["COMMANDS"]).to_writer(&mut text)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut head = Roff::new();
        head.control("SS", [format!("spanloom {}", command.get_name()).as_str()]);
        head.text([roman(about)]).to_writer(&mut text)?;
        let mut options = vec![];
        Man::new(command.clone()).render_options_section(&mut options)?;
        // Its heading would end the section of commands.
        let lines = String::from_utf8_lossy(&options).into_owned();
        let lines = lines.lines().filter(|line| !line.starts_with(".SH"));
        lines.for_each(|line| text.extend(format!("{line}\n").bytes()));
    }
    let codes = "0 done, 1 configuration or usage, 2 failed at run time.";
    Roff::new().control("SH", ["EXIT STATUS"]).text([roman(codes)]).to_writer(&mut text)?;
    Ok(text)
}

/// To standard output, which may be closed early: `spanloom man | head`.
fn print(text: &[u8]) -> ExitCode {
    let _ = io::stdout().write_all(text);
    ExitCode::SUCCESS
}
