//! `${...}` in values.

use super::load::World;
use super::node::Node;
use super::problem::Problems;

/// Expands every scalar of the tree.
pub fn expand(node: Node, world: &World<'_>, problems: &mut Problems) -> Node {
    let _ = (world, problems);
    node
}
