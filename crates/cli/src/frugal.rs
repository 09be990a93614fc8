//! Giving memory back: the one call into the C library, and so the one `unsafe` block, of the command line.
#![allow(unsafe_code)]

/// Has large buffers taken from the system one by one, and given back when they are dropped. glibc would keep some for
/// each thread: 3 MB of 10 on two threads.
#[cfg(target_env = "gnu")]
pub(crate) fn be_frugal() {
    const LARGE: libc::c_int = 128 << 10;
    // SAFETY: it sets a number that later allocations look at; no other thread has started yet. If it fails, more is
    // kept.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Other C libraries do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn be_frugal() {}
