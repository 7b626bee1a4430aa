//! The few things that are asked of the operating system directly.

/// Lets the calling thread yield to others (`nice` 0 to 19; 0 does nothing).
pub(crate) fn lower_thread_priority(nice: i32) {
    if nice <= 0 {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        #[expect(unsafe_code, reason = "setpriority takes plain integers; on Linux, 0 is the calling thread")]
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.min(19)) };
        if result != 0 {
            tracing::debug!(nice, "thread priority not lowered");
        }
    }
}

/// Raises the number of files and sockets that may be open to what the system lets us have.
pub(crate) fn raise_open_file_limit() {
    #[cfg(unix)]
    {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        #[expect(unsafe_code, reason = "getrlimit and setrlimit read and write the struct given")]
        let result = unsafe {
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
            } else {
                0
            }
        };
        if result != 0 {
            tracing::debug!("limit of open files not raised");
        }
    }
}

/// Memory this process may use, bytes: the machine's, or the container's limit if that is lower.
pub(crate) fn available_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    match (machine, container) {
        (Some(machine), Some(container)) => Some(machine.min(container)),
        (machine, container) => machine.or(container),
    }
}

/// Instructions this binary was compiled for and the processor lacks.
pub(crate) fn missing_cpu_features() -> Vec<&'static str> {
    #[allow(unused_mut, reason = "stays empty on other architectures")]
    let mut missing = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! check {
            ($($feature:tt),*) => {
                $(if cfg!(target_feature = $feature) && !std::arch::is_x86_feature_detected!($feature) {
                    missing.push($feature);
                })*
            };
        }
        check!("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2");
    }
    missing
}
