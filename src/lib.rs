pub mod limits;

pub mod config;
