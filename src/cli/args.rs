//! What can be said on the command line.

use super::{demo, diagnose, health, load, manual, replay, status};
use clap::{Parser, Subcommand};
use std::num::NonZeroUsize;

/// Receives OpenTelemetry data of AI agents, strips what is sensitive, marks whose request each
/// span served, names torn traces, and forwards to any OTLP backend.
#[derive(Parser)]
#[command(name = "spanloom", version, args_conflicts_with_subcommands = false)]
pub struct Args {
    #[command(flatten)]
    pub config: Config,
    /// Threads that do the work [default: one for every two cores]
    #[arg(long, env = "TOKIO_WORKER_THREADS", value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Where the configuration comes from.
#[derive(clap::Args, Clone, Default)]
pub struct Config {
    /// A configuration file, `env:VARIABLE` or `yaml:TEXT`; later ones are laid over earlier ones
    #[arg(long, value_name = "FILE")]
    pub config: Vec<String>,
    /// One value, such as `exporters.otlp_grpc.endpoint=tempo:4317`
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Config {
    /// Options before and after the command count alike.
    pub fn and(mut self, more: Config) -> Config {
        self.config.extend(more.config);
        self.set.extend(more.set);
        self
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Print everything that is wrong with a configuration; exit 0 if nothing is
    Validate(Config),
    /// Print the configuration as it takes effect: defaults as comments, secrets masked
    PrintConfig(Config),
    /// List the receivers, processors, exporters and extensions that are built in
    Components,
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Play a broken multi-agent run through spanloom and show it before and after
    Demo(demo::Options),
    /// Say which traces in files are torn, by what, and what mends them; exit 3 if any is
    Diagnose(diagnose::Options),
    /// Send agent-shaped spans to an OTLP endpoint at a given rate
    Load(load::Options),
    /// Show what a running spanloom does: rates, drops by rule, queues, findings
    Status(status::Options),
    /// Send dead letters again: what a backend refused for good and file_storage has kept
    Replay(replay::Options),
    /// Ask a running spanloom whether it takes telemetry; exit 0 if it does
    Health(health::Options),
    /// Print the completions of a shell: eval "$(spanloom completions bash)"
    Completions(manual::Options),
    /// Print the man page: spanloom man > spanloom.1
    Man,
}
