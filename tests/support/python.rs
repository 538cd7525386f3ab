//! Python with the packages that a test needs; `.ci/run sdks` installs them below `target/interop`.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The interpreter that can do `imports`, or None with the reason on stderr; under CI=true that is
/// a failure.
#[track_caller]
pub fn python(imports: &str) -> Option<PathBuf> {
    let default =
        || concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/python/bin/python").into();
    let python = PathBuf::from(env::var_os("SPANLOOM_INTEROP_PYTHON").unwrap_or_else(default));
    let probe = format!("import {imports}");
    let found = Command::new(&python).args(["-P", "-c", &probe]).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let path = python.display();
    let reason = format!("{path} lacks {imports}; `.ci/run sdks` installs them");
    assert!(env::var("CI").as_deref() != Ok("true"), "{reason}");
    // Past the capture of the test harness, so that a skipped test is seen.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
    None
}
