//! Reading files, and reading them again.
