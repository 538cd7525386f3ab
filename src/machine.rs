//! What this process and its machine have of memory: the only place that asks the kernel.

use std::fs;
use std::path::Path;

/// Bytes of memory that this process may use: the least that its control groups (version 2 or 1)
/// and the machine allow. `None` where none of them says anything.
pub fn memory() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let files = limit_files(&own);
    let groups = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    groups.filter_map(|text| group_limit(&text)).chain(row(&machine, "MemTotal:")).min()
}

/// Bytes of this process that are in memory now. `None` where the kernel does not say.
pub fn resident() -> Option<u64> {
    row(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The files that may hold a limit, given the text of `/proc/self/cgroup`: rows of
/// `hierarchy:controllers:path`. Inside a container the path may be that of the host, which is
/// not there; the limit then stands at the root. Every group above limits too.
fn limit_files(own: &str) -> Vec<String> {
    let mut files = vec![];
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let groups = Path::new(path).ancestors().filter_map(Path::to_str);
        files.extend(groups.map(|group| format!("{root}{}/{name}", group.trim_end_matches('/'))));
    }
    files
}

/// A group's limit; `max`, and a number that no machine has, mean none.
fn group_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 62)
}

/// The bytes in a row of `name: number kB`.
fn row(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_in_every_group_above() {
        let cases: [(&str, &[&str]); 4] = [
            ("0::/\n", &["/sys/fs/cgroup/memory.max"]),
            (
                "0::/a.slice/b.scope\n",
                &[
                    "/sys/fs/cgroup/a.slice/b.scope/memory.max",
                    "/sys/fs/cgroup/a.slice/memory.max",
                    "/sys/fs/cgroup/memory.max",
                ],
            ),
            (
                "4:cpu,cpuacct:/x\n3:memory:/d\n1:name=systemd:/x\n",
                &[
                    "/sys/fs/cgroup/memory/d/memory.limit_in_bytes",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                ],
            ),
            ("nonsense", &[]),
        ];
        for (own, expected) in cases {
            assert_eq!(limit_files(own), expected, "{own}");
        }
    }

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        for (text, expected) in [
            ("max\n", None),
            ("67108864\n", Some(64 << 20)),
            ("9223372036854771712\n", None),
            ("", None),
        ] {
            assert_eq!(group_limit(text), expected, "{text:?}");
        }
        let status = "Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t    8192 kB\nThreads:\t3\n";
        assert_eq!(row(status, "VmRSS:"), Some(8 << 20));
        assert_eq!(row(status, "VmSwap:"), None);
    }

    #[test]
    fn a_process_has_memory() {
        let (memory, resident) = (memory().unwrap_or(u64::MAX), resident().unwrap_or(1));
        assert!(0 < resident && resident < memory, "{resident} of {memory}");
    }
}
