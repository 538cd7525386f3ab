//! The table of a component's keys, written as a constant in the component's own file:
//!
//! ```
//! use spanloom::config::Key;
//!
//! const RETRY: &[Key] = &[
//!     Key::bool("enabled", true, "try again after a failure"),
//!     Key::duration("initial_interval", "5s", "the first wait"),
//! ];
//! const KEYS: &[Key] = &[
//!     Key::endpoint("endpoint", "", "where to send").required(),
//!     Key::duration("timeout", "5s", "per attempt"),
//!     Key::choice("compression", &["gzip", "zstd", "none"], "gzip", "of the body"),
//!     Key::map_of_secret("headers", "sent with every request"),
//!     Key::object("retry_on_failure", RETRY, "what to do after a failure"),
//!     Key::unsupported("balancer_name", "requests go to all addresses in turn"),
//! ];
//! ```
//!
//! The table is the single source for checking, defaults, JSON Schema and documentation.

use std::ops::RangeInclusive;

/// One key: its name, what it holds, what it is when absent, and what it means.
#[derive(Debug)]
pub struct Key {
    /// The name as in the file.
    pub name: &'static str,
    /// What the key holds, with its bounds.
    pub kind: Kind,
    /// The value when the key is absent or null.
    pub default: Default,
    /// One line for people: the meaning, with its unit.
    pub about: &'static str,
    /// Absent is an error.
    pub required: bool,
}

/// What a key holds.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Int(i64, i64),
    /// A number within bounds, both included.
    Float(f64, f64),
    /// A text.
    Text,
    /// A text that is never printed.
    Secret,
    /// A duration in Go's notation.
    Duration,
    /// A whole number of bytes.
    SizeBytes,
    /// A whole number of MiB.
    SizeMib,
    /// `host:port` or a URL.
    Endpoint,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list of texts; a single text is split at commas, as in the Collector.
    ListOfText,
    /// Names to texts.
    MapOfText,
    /// Names to texts that are never printed.
    MapOfSecret,
    /// A map with these keys; absent means all defaults.
    Object(&'static [Key]),
    /// A map with these keys; absent means off, null means all defaults.
    OptionalObject(&'static [Key]),
    /// A list of maps with these keys.
    ListOfObjects(&'static [Key]),
    /// Names of the user's choice to maps with these keys.
    MapOfObjects(&'static [Key]),
    /// The id of an extension that `service::extensions` must list; empty is none.
    ExtensionId,
    /// Ids of pipelines that have this connector among their receivers.
    Pipelines,
    /// Anything; the component reads the node itself.
    Any,
    /// Known from the Collector and an error here; the text says why and what to use instead.
    Unsupported(&'static str),
    /// Known from the Collector and without effect here, which is a warning; the text says why.
    Ignored(&'static str),
}

/// The value of an absent key.
#[derive(Debug)]
pub enum Default {
    /// The kind's own nothing: no entries, no node, an empty text.
    None,
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Int`], [`Kind::SizeBytes`] and [`Kind::SizeMib`].
    Int(i64),
    /// Of [`Kind::Float`].
    Float(f64),
    /// Of [`Kind::Text`], [`Kind::Duration`], [`Kind::Endpoint`], [`Kind::Choice`] and
    /// [`Kind::ExtensionId`].
    Text(&'static str),
    /// Of [`Kind::ListOfText`].
    List(&'static [&'static str]),
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: Default, about: &'static str) -> Key {
        Key { name, kind, default, about, required: false }
    }

    /// Marks the key as one that must be written.
    pub const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    /// `true` or `false`.
    pub const fn bool(name: &'static str, default: bool, about: &'static str) -> Key {
        Key::new(name, Kind::Bool, Default::Bool(default), about)
    }

    /// A whole number within `range`.
    pub const fn int(
        name: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
        about: &'static str,
    ) -> Key {
        let kind = Kind::Int(*range.start(), *range.end());
        Key::new(name, kind, Default::Int(default), about)
    }

    /// A number within `range`.
    pub const fn float(
        name: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        about: &'static str,
    ) -> Key {
        let kind = Kind::Float(*range.start(), *range.end());
        Key::new(name, kind, Default::Float(default), about)
    }

    /// A text.
    pub const fn text(name: &'static str, default: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Text, Default::Text(default), about)
    }

    /// A text that is never printed; absent is the empty secret.
    pub const fn secret(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Secret, Default::None, about)
    }

    /// A duration; the default in the same notation, `5s`.
    pub const fn duration(name: &'static str, default: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Duration, Default::Text(default), about)
    }

    /// A whole number of bytes; read it with `Section::bytes`.
    pub const fn size_bytes(name: &'static str, default: i64, about: &'static str) -> Key {
        Key::new(name, Kind::SizeBytes, Default::Int(default), about)
    }

    /// A whole number of MiB; read it, in bytes, with `Section::bytes`.
    pub const fn size_mib(name: &'static str, default: i64, about: &'static str) -> Key {
        Key::new(name, Kind::SizeMib, Default::Int(default), about)
    }

    /// `host:port` or a URL; the default `""` means none.
    pub const fn endpoint(name: &'static str, default: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Endpoint, Default::Text(default), about)
    }

    /// One of `choices`, in any case; read it, as listed, with `Section::text`.
    pub const fn choice(
        name: &'static str,
        choices: &'static [&'static str],
        default: &'static str,
        about: &'static str,
    ) -> Key {
        Key::new(name, Kind::Choice(choices), Default::Text(default), about)
    }

    /// A list of texts.
    pub const fn list_of_text(
        name: &'static str,
        default: &'static [&'static str],
        about: &'static str,
    ) -> Key {
        Key::new(name, Kind::ListOfText, Default::List(default), about)
    }

    /// Names to texts; absent is empty.
    pub const fn map_of_text(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::MapOfText, Default::None, about)
    }

    /// Names to texts that are never printed, such as headers; absent is empty.
    pub const fn map_of_secret(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::MapOfSecret, Default::None, about)
    }

    /// A map with its own keys; absent or null means all their defaults.
    pub const fn object(name: &'static str, keys: &'static [Key], about: &'static str) -> Key {
        Key::new(name, Kind::Object(keys), Default::None, about)
    }

    /// A map with its own keys; absent means off, null (`grpc:`) means all their defaults.
    pub const fn optional_object(
        name: &'static str,
        keys: &'static [Key],
        about: &'static str,
    ) -> Key {
        Key::new(name, Kind::OptionalObject(keys), Default::None, about)
    }

    /// A list of maps; absent is empty.
    pub const fn list_of_objects(
        name: &'static str,
        keys: &'static [Key],
        about: &'static str,
    ) -> Key {
        Key::new(name, Kind::ListOfObjects(keys), Default::None, about)
    }

    /// Names of the user's choice to maps; absent is empty.
    pub const fn map_of_objects(
        name: &'static str,
        keys: &'static [Key],
        about: &'static str,
    ) -> Key {
        Key::new(name, Kind::MapOfObjects(keys), Default::None, about)
    }

    /// The id of an extension, such as a queue's `storage`: that it is listed in
    /// `service::extensions` is checked with the document. Read it with `Section::text`.
    pub const fn extension_id(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::ExtensionId, Default::Text(""), about)
    }

    /// Ids of the pipelines to which a connector leads: that they are configured, and begin with
    /// the connector, is checked with the document. Read it with `Section::list`.
    pub const fn pipelines(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Pipelines, Default::List(&[]), about)
    }

    /// Anything; the component reads the node itself. Expansions are done.
    pub const fn any(name: &'static str, about: &'static str) -> Key {
        Key::new(name, Kind::Any, Default::None, about)
    }

    /// A key of the Collector that is an error here: `why`, and what to use instead.
    pub const fn unsupported(name: &'static str, why: &'static str) -> Key {
        Key::new(name, Kind::Unsupported(why), Default::None, why)
    }

    /// A key of the Collector that does no harm and has no effect here, which is a warning.
    pub const fn ignored(name: &'static str, why: &'static str) -> Key {
        Key::new(name, Kind::Ignored(why), Default::None, why)
    }

    /// Whether the key does anything here, and so belongs into schema and documentation.
    pub const fn is_supported(&self) -> bool {
        !matches!(self.kind, Kind::Unsupported(_) | Kind::Ignored(_))
    }
}
