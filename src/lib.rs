#![doc = include_str!("../ARCHITECTURE.md")]

pub mod otlp;

pub mod limits;
pub mod moment;
pub mod spelling;
pub mod turns;
pub mod verdict;

pub mod account;
pub mod metadata;
pub mod receipt;

pub mod batch;

pub mod clock;
pub mod condition;
pub mod config;
pub mod journal;
pub mod machine;
pub mod sockets;
pub mod status;
pub mod telemetry;
pub mod transport;

pub mod intake;
pub mod web;

pub mod connectors;
pub mod exporters;
pub mod extensions;
pub mod processors;
pub mod receivers;

pub mod delivery;

pub mod pipeline;

pub mod daemon;

pub mod cli;
