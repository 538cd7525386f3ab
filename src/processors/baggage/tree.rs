//! Who inherits from whom: the items of one batch, trace by trace, with what is known of each
//! trace from before.

use super::values::Values;
use crate::otlp::edit::Place;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;

/// Values, or none.
pub type Set = Option<Arc<Values>>;

/// Who inherits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Spans below the one that carries a value, each from the nearest above it.
    Descendants,
    /// Log records: they name no parent, and get what records of the same span carry, then what
    /// their span has.
    SameSpan,
    /// All items of the trace.
    Trace,
}

/// An item of the batch.
pub struct Node {
    /// 0 for none, as for the other ids.
    pub trace: u128,
    /// The place of the trace among those of the batch.
    pub order: u32,
    pub span: u64,
    pub parent: u64,
    /// Where it gets attributes.
    pub place: Place,
    /// The targets that it has as attributes.
    pub present: u32,
    /// What it carries.
    pub own: Set,
    /// What its resource carries.
    pub resource: Set,
    /// What it is to have.
    pub set: Set,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    New,
    /// Its ancestors are being looked at.
    Open,
    Done,
}

/// What is remembered of a trace.
#[derive(Default)]
pub struct Known {
    root: Root,
    /// Of spans that have other values than the root.
    spans: Sets,
    /// What log records of spans carry, which is not what the spans do.
    records: Option<Box<Sets>>,
    /// Bytes of the values in `spans` and `records`.
    bytes: usize,
    last: Set,
}

type Sets = HashMap<u64, Arc<Values>, RandomState>;

/// The span that all others of the trace are below.
#[derive(Clone, Default)]
enum Root {
    #[default]
    Unknown,
    One(u64, Set),
    /// There are several: who is below which is known by parents alone.
    Many,
}

impl Root {
    fn set(&self) -> Set {
        match self {
            Root::One(_, set) => set.clone(),
            _ => None,
        }
    }
}

impl Known {
    /// Bytes on the heap.
    pub fn weight(&self) -> usize {
        let records = self.records.as_ref().map_or(0, |records| records.capacity() + 8);
        let slots = self.spans.capacity() + records;
        let slots = slots + slots / 7;
        let root = match &self.root {
            Root::One(_, Some(set)) => weight(set),
            _ => 0,
        };
        slots * (size_of::<(u64, Arc<Values>)>() + 1) + self.bytes + root
    }

    /// What the span has; what the root has, if all others are below it.
    pub fn span(&self, span: u64) -> Set {
        self.spans.get(&span).cloned().or_else(|| self.root.set())
    }

    /// What records of the span carry.
    fn records(&self, span: u64) -> Set {
        self.records.as_ref()?.get(&span).cloned()
    }

    /// Remembers what was found of the spans in `run`, `most` of them at most. Yields how many
    /// could not be.
    fn learn(&mut self, run: &[Node], root: Root, most: usize) -> usize {
        self.root = root;
        let mut spans = std::mem::take(&mut self.spans);
        let beyond = self.keep(&mut spans, run.iter(), most);
        self.spans = spans;
        beyond
    }

    /// The same of what log records in `run` carry.
    fn learn_records(&mut self, run: &[Node], most: usize) -> usize {
        let mut records = self.records.take().unwrap_or_default();
        let beyond = self.keep(&mut records, run.iter().filter(|node| node.own.is_some()), most);
        self.records = Some(records);
        beyond
    }

    fn keep<'n>(
        &mut self,
        sets: &mut Sets,
        nodes: impl Iterator<Item = &'n Node>,
        most: usize,
    ) -> usize {
        let (top, mut beyond) = (self.root.set(), 0);
        for node in nodes {
            let Some(set) = node.set.as_ref().filter(|_| node.span != 0) else { continue };
            if top.as_ref().is_some_and(|top| Arc::ptr_eq(top, set)) {
                continue;
            }
            if sets.len() >= most {
                beyond += 1;
                continue;
            }
            if !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, set)) {
                self.bytes += weight(set);
                self.last = Some(set.clone());
            }
            sets.insert(node.span, set.clone());
        }
        beyond
    }
}

fn weight(set: &Values) -> usize {
    set.weight() + size_of::<Values>() + 2 * size_of::<usize>()
}

/// Works out what items inherit.
pub struct Tree {
    scope: Scope,
    /// Items of the trace at hand, by span id.
    index: HashMap<u64, usize, RandomState>,
    climbed: Vec<usize>,
    /// What the span has that the trace at hand belongs below, as a fragment of another.
    above: Set,
    /// The last two sets that were joined, and what they make.
    joined: Option<(Arc<Values>, Arc<Values>, Arc<Values>)>,
}

/// What was found of a trace.
pub struct Lesson {
    root: Root,
    /// All items are to have what the root has, and none says so itself.
    shared: bool,
    /// There is nothing in it that was not known.
    known: bool,
}

impl Lesson {
    fn each(root: Root) -> Lesson {
        Lesson { root, shared: false, known: false }
    }

    /// What all items are to have, if that is one and the same.
    pub fn shared(&self) -> Option<Set> {
        self.shared.then(|| self.root.set())
    }

    /// Whether it is worth remembering.
    pub fn is_new(&self) -> bool {
        !self.known
    }

    /// Teaches it; see [`Known::learn`].
    pub fn teach(self, known: &mut Known, run: &[Node], scope: Scope, most: usize) -> usize {
        match scope {
            Scope::Descendants if self.shared => known.learn(&[], self.root, most),
            Scope::Descendants => known.learn(run, self.root, most),
            Scope::SameSpan => known.learn_records(run, most),
            Scope::Trace => known.learn(&[], self.root, most),
        }
    }
}

impl Tree {
    pub fn new(scope: Scope) -> Tree {
        Tree { scope, index: HashMap::default(), climbed: vec![], above: None, joined: None }
    }

    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Finds what the items in `run`, all of one trace, are to have; all of it stands below what
    /// has `above`. `None` if there is nothing to find and nothing to remember.
    pub fn resolve(
        &mut self,
        run: &mut [Node],
        known: Option<&Known>,
        above: Set,
    ) -> Option<Lesson> {
        self.above = above;
        let carries = |node: &Node| node.own.is_some() || node.resource.is_some();
        if known.is_none() && self.above.is_none() && !run.iter().any(carries) {
            return None;
        }
        match self.scope {
            Scope::Descendants => {
                let usual = match self.above {
                    None => self.below_one_root(run, known),
                    Some(_) => None,
                };
                usual.or_else(|| Some(Lesson::each(self.spans(run, known))))
            }
            Scope::SameSpan => self.same_span(run, known),
            Scope::Trace => Some(Lesson::each(self.trace(run, known))),
        }
    }

    /// Items without a trace have what they carry.
    pub fn alone(&mut self, run: &mut [Node]) {
        for node in run {
            node.set = self.own(&node.own, &None, &node.resource);
        }
    }

    fn spans(&mut self, run: &mut [Node], known: Option<&Known>) -> Root {
        let beyond = self.above.clone();
        self.index.clear();
        let mut root = known.map(|known| known.root.clone()).unwrap_or_default();
        for (n, node) in run.iter().enumerate().filter(|(_, node)| node.span != 0) {
            let first = *self.index.entry(node.span).or_insert(n);
            if first != n && node.own.is_some() && run.get(first).is_some_and(|f| f.own.is_none()) {
                self.index.insert(node.span, n);
            }
            if node.parent == 0 {
                root = match root {
                    Root::Unknown => Root::One(node.span, None),
                    Root::One(span, set) if span == node.span => Root::One(span, set),
                    _ => Root::Many,
                };
            }
        }
        if let Root::One(span, set) = &mut root
            && let Some(node) = self.index.get(span).and_then(|n| run.get(*n))
            && let found @ Some(_) = self.own(&node.own, &beyond, &node.resource)
        {
            *set = found;
        }
        let top = root.set();
        for n in 0..run.len() {
            self.climb(n, run, known, &top, &beyond);
        }
        root
    }

    /// The same for the usual trace, where nobody needs to be looked up: it has one root, nothing
    /// else carries values, and nothing else is known. Any other trace this leaves alone.
    fn below_one_root(&self, run: &[Node], known: Option<&Known>) -> Option<Lesson> {
        let (before, set) = match known.map(|known| (&known.root, known.spans.is_empty())) {
            None | Some((Root::Unknown, true)) => (None, None),
            Some((Root::One(span, set), true)) => (Some(*span), set.as_ref()),
            _ => return None,
        };
        let mut root = before;
        let mut carrier = None;
        for node in run {
            if node.parent == 0 && node.span != 0 && *root.get_or_insert(node.span) != node.span {
                return None;
            }
            if node.own.is_some() || node.resource.is_some() {
                if carrier.is_some() || node.resource.is_some() {
                    return None;
                }
                carrier = Some(node);
            }
        }
        let span = root.filter(|root| carrier.is_none_or(|carrier| carrier.span == *root))?;
        let known = before.is_some() && carrier.is_none();
        let set = carrier.map_or(set, |root| root.own.as_ref()).cloned();
        Some(Lesson { root: Root::One(span, set), shared: true, known })
    }

    /// Goes up from item `n` to the nearest one that is done, and down again.
    fn climb(
        &mut self,
        n: usize,
        run: &mut [Node],
        known: Option<&Known>,
        top: &Set,
        beyond: &Set,
    ) {
        self.climbed.clear();
        let mut next = Some(n);
        let mut above = loop {
            let Some((n, node)) = next.and_then(|n| Some((n, run.get_mut(n)?))) else {
                break None;
            };
            match node.state {
                State::Done => break node.set.clone(),
                // A circle: nobody in it has an end to inherit from.
                State::Open => break beyond.clone(),
                State::New => node.state = State::Open,
            }
            self.climbed.push(n);
            if node.parent == 0 {
                break beyond.clone();
            }
            next = self.index.get(&node.parent).copied();
            if next.is_none() {
                let parent = known.and_then(|known| known.spans.get(&node.parent)).cloned();
                break parent.or_else(|| top.clone()).or_else(|| beyond.clone());
            }
        };
        while let Some(node) = self.climbed.pop().and_then(|n| run.get_mut(n)) {
            above = self.own(&node.own, &above, &node.resource);
            // One and the same for the root and all that have nothing else.
            if let (Some(set), Some(top)) = (&above, top)
                && set == top
            {
                above = Some(top.clone());
            }
            node.set = above.clone();
            node.state = State::Done;
        }
    }

    /// Of what came from spans there is nothing to remember.
    fn same_span(&mut self, run: &mut [Node], known: Option<&Known>) -> Option<Lesson> {
        let mut sets: HashMap<u64, Set, RandomState> = HashMap::default();
        for node in run.iter().filter(|node| node.span != 0) {
            let before = || known.and_then(|known| known.records(node.span));
            let set = sets.entry(node.span).or_insert_with(before);
            *set = self.join(set, &node.own);
        }
        for node in run.iter_mut() {
            let at_span = sets.get(&node.span).cloned().unwrap_or_default();
            let above = known.and_then(|known| known.span(node.span));
            let above = above.or_else(|| self.above.clone());
            let above = self.join(&at_span, &above);
            node.set = self.own(&node.own, &above, &node.resource);
        }
        run.iter().any(|node| node.own.is_some()).then_some(Lesson::each(Root::Unknown))
    }

    fn trace(&mut self, run: &mut [Node], known: Option<&Known>) -> Root {
        let mut all = known.and_then(|known| known.root.set());
        for node in run.iter() {
            all = self.join(&all, &node.own);
        }
        let beyond = self.above.clone();
        all = self.join(&all, &beyond);
        for node in run.iter_mut() {
            node.set = self.own(&node.own, &all, &node.resource);
        }
        Root::One(0, all)
    }

    /// What an item has that carries `own`, stands below what has `above`, and in `resource`.
    fn own(&mut self, own: &Set, above: &Set, resource: &Set) -> Set {
        let set = self.join(own, above);
        self.join(&set, resource)
    }

    /// All values of `first`, and those of `second` that it has not.
    fn join(&mut self, first: &Set, second: &Set) -> Set {
        let (a, b) = match (first, second) {
            (Some(a), Some(b)) => (a, b),
            (one, None) | (None, one) => return one.clone(),
        };
        if b.mask() & !a.mask() == 0 {
            return Some(a.clone());
        }
        if let Some((c, d, joined)) = &self.joined
            && Arc::ptr_eq(a, c)
            && Arc::ptr_eq(b, d)
        {
            return Some(joined.clone());
        }
        let mut joined = Values::clone(a);
        joined.add(b);
        let joined = Arc::new(joined);
        self.joined = Some((a.clone(), b.clone(), joined.clone()));
        Some(joined)
    }
}
