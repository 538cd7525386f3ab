//! Tables of all processors.
