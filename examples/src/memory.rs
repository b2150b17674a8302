use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Anonymous memory of this process in bytes: mapped files do not count. 0 where the system does not tell.
pub fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// The largest [`anonymous_bytes`] of a while, looked at every millisecond.
pub struct PeakMemory {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl PeakMemory {
    /// Begins to look.
    pub fn begin() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let thread = spawn(move || {
            let mut peak = 0;
            while !until.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_bytes());
                sleep(Duration::from_millis(1));
            }
            peak
        });
        Self { ended, thread }
    }

    /// Bytes at the peak.
    pub fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}
