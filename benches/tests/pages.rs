//! What is freed stays with the allocator. Alone in its process, which the system counts the pages of.
#![cfg(target_os = "linux")]

use std::hint::black_box;
use std::thread::sleep;
use std::time::Duration;

use chinese_clip_benches as _; // the allocator
use chinese_clip_kernels::keep_pages;

/// Pages that this process has touched for the first time, or again after it gave them back.
fn fresh_pages() -> Option<usize> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(7)?.parse().ok()
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
        let before = fresh_pages().unwrap();
        sleep(Duration::from_millis(1500));
        layers();
        fresh_pages().unwrap() - before
    };
    let fresh: Vec<usize> = (0..4).map(round).collect();
    assert!(fresh[1..].iter().all(|&pages| pages < 100), "{fresh:?} fresh pages");
}
