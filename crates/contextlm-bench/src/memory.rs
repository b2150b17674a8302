use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// Anonymous memory of this process in bytes: mapped files do not count. `None` where the system does not tell.
pub fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The largest [`anonymous_bytes`] of a while, looked at every millisecond.
pub struct PeakMemory {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Option<u64>>,
}

impl PeakMemory {
    /// Begins to look.
    pub fn begin() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let thread = spawn(move || {
            let mut peak = anonymous_bytes();
            while !until.load(Ordering::Relaxed) {
                peak = peak.max(anonymous_bytes());
                sleep(Duration::from_millis(1));
            }
            peak.max(anonymous_bytes())
        });
        Self { ended, thread }
    }

    /// Bytes at the peak.
    pub fn end(self) -> Option<u64> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_peak_is_seen_after_it_is_over() {
        let before = anonymous_bytes().unwrap_or(u64::MAX);
        let watch = PeakMemory::begin();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        sleep(Duration::from_millis(300)); // a busy machine lets the other thread wait
        drop(block);
        let peak = watch.end().unwrap_or(0);
        assert!(peak >= before + (60 << 20), "{peak} after {before}");
    }
}
