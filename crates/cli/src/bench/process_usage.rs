//! Memory and processor time of a process, as Linux tells in `/proc`.

use crate::error::{CliError, Result};

/// Processor time is counted in hundredths of a second (`USER_HZ`, fixed by the kernel's interface
/// to programs on every architecture we run on).
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory now and at its highest, in bytes.
pub fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = read(pid, "status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok());
        kib.map(|kib: u64| kib * 1024)
            .ok_or_else(|| CliError::failed(format!("/proc/{pid}/status has no {name}")))
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Processor time used so far, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    // The name of the program stands in parentheses and may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
        _ => Err(CliError::failed(format!("/proc/{pid}/stat cannot be read"))),
    }
}

/// Nanoseconds of processor time that the threads of a process have used that are alive: finer than
/// what the system tells of the process.
pub fn threads_ns(pid: u32) -> Result<u64> {
    named_threads_ns(pid, |_| true)
}

/// The same of those whose names are wanted.
pub fn named_threads_ns(pid: u32, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let dir = std::path::PathBuf::from(format!("/proc/{pid}/task"));
    let threads = std::fs::read_dir(&dir).map_err(|e| CliError::file("read", &dir, &e))?;
    // A thread that ends meanwhile cannot be read.
    let texts = threads
        .flatten()
        .filter(|thread| {
            std::fs::read_to_string(thread.path().join("comm"))
                .is_ok_and(|name| wanted(name.trim()))
        })
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    Ok(texts.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum())
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::read_to_string(&path).map_err(|e| CliError::file("read", &path, &e))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        let (now, highest) = super::memory(pid).expect("our own status can be read");
        assert!(now > 0 && highest >= now);
        assert!(super::cpu_seconds(pid).expect("our own stat can be read") >= 0.0);
        assert!(super::threads_ns(pid).expect("our own threads can be read") > 0);
        let none = super::named_threads_ns(pid, |_| false);
        assert_eq!(none.expect("our own threads can be read"), 0);
    }
}
