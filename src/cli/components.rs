//! `components`: what is built in.

use crate::config::Class;
use crate::pipeline::catalog::catalog;
use std::process::ExitCode;

/// Lists all components by class.
pub fn components() -> ExitCode {
    let catalog = catalog();
    for class in Class::ALL {
        let mut components = catalog.of(class).peekable();
        if components.peek().is_none() {
            continue;
        }
        println!("{}:", class.plural());
        for component in components {
            let aliases = match component.aliases {
                [] => String::new(),
                aliases => format!(" (also {})", aliases.join(", ")),
            };
            println!("  {:14} {}{aliases}", component.name, component.about);
        }
    }
    ExitCode::SUCCESS
}
