//! Memory of this process.

/// The peak of the resident memory; `None` where the system does not say.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024) // the kernel's kB are KiB
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::hint::black_box;
    use std::thread::sleep;
    use std::time::Duration;

    use chinese_clip_kernels::keep_pages;

    /// Pages that this process has touched for the first time, or again after it gave them back.
    fn fresh_pages() -> usize {
        let stat = std::fs::read_to_string("/proc/self/stat").expect("what Linux says");
        let (_, after_name) = stat.rsplit_once(')').expect("a name");
        after_name.split_whitespace().nth(7).and_then(|count| count.parse().ok()).expect("a count")
    }

    /// Results of layers of several sizes.
    fn layers() {
        let blocks: Vec<Vec<u8>> = (1..32).map(|i| vec![1; i << 18]).collect();
        black_box(blocks);
    }

    #[test]
    fn what_is_freed_is_used_again_after_a_pause() {
        keep_pages();
        let round = |_| {
            let before = fresh_pages();
            sleep(Duration::from_millis(1500));
            layers();
            fresh_pages() - before
        };
        let fresh: Vec<usize> = (0..4).map(round).collect();
        assert!(fresh[1..].iter().all(|&pages| pages < 100), "{fresh:?} fresh pages");
    }
}
