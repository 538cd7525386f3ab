#![doc = include_str!("../ARCHITECTURE.md")]

pub mod otlp;

pub mod limits;
pub mod moment;
pub mod verdict;

pub mod receipt;

pub mod batch;

pub mod clock;
pub mod condition;
pub mod config;
pub mod telemetry;
pub mod transport;

pub mod intake;
