//! Every bound of the daemon, each with its unit, its default and the reason for that figure.

/// Bytes of one configuration source (a file, a variable, a `${file:...}`). 4 MiB: a hand-written
/// file is under 100 KiB, and whoever points `--config` at a log file gets a sentence, not a
/// process out of memory.
pub const CONFIG_BYTES: usize = 4 << 20;

/// YAML nodes of one configuration source after aliases are resolved. 100 000: far above a large
/// gateway, far below what a file of nested aliases ("billion laughs") unfolds to.
pub const CONFIG_NODES: usize = 100_000;

/// Levels of nesting in a configuration. 64: the deepest documented key is nine levels down, and
/// every walk over the tree recurses.
pub const CONFIG_DEPTH: usize = 64;

/// Expansions (`${...}`) that one value may need, nested ones included. 100, as in the Collector:
/// it ends variables that refer to each other.
pub const CONFIG_EXPANSIONS: usize = 100;

const _: () = assert!(CONFIG_DEPTH < CONFIG_NODES);
