//! A matrix that tasks on several threads fill.

/// Memory that tasks write, each its own parts.
#[derive(Clone, Copy)]
pub(crate) struct Output<T = f32> {
    start: *mut T,
    len: usize,
}

// SAFETY: the pointer is only used through `part`, whose callers never share a part between threads.
unsafe impl<T: Send> Send for Output<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Output<T> {}

impl<T> Output<T> {
    /// # Safety
    /// No other reference to a number of this part exists, and numbers are read only after they were written.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // parts are disjoint
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.len);
        // SAFETY: the part lies inside the allocation that `fill` holds while this lives; it is not aliased by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// `len` numbers, which `work` writes all.
///
/// # Safety
/// `work` writes every number.
pub(crate) unsafe fn fill<T>(len: usize, work: impl FnOnce(Output<T>)) -> Vec<T> {
    let mut numbers: Vec<T> = Vec::with_capacity(len);
    work(Output { start: numbers.as_mut_ptr(), len });
    // SAFETY: `len` numbers are allocated, and written by the contract.
    unsafe { numbers.set_len(len) };
    numbers
}
