//! What only the C library can be asked for, and so all that is `unsafe` of the command line: to give memory back, and to be
//! served by the disk last.
#![allow(unsafe_code, reason = "system calls that no crate offers safely")]

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

/// Has the disk serve this thread, and those it starts from here on, when nobody else wants it (`ioprio_set(2)`, the idle
/// class), where its scheduler knows any priority.
pub(crate) fn be_idle() -> std::io::Result<()> {
    const THIS_THREAD: (libc::c_int, libc::c_int) = (1, 0);
    // SAFETY: it takes three numbers and touches no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, THIS_THREAD.0, THIS_THREAD.1, IDLE) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The idle class, shifted to its place.
const IDLE: libc::c_long = 3 << 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_started_after_it_are_idle_too() {
        let priority = || {
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) }
        };
        assert_ne!(priority(), IDLE);
        be_idle().unwrap();
        assert_eq!(priority(), IDLE);
        assert_eq!(std::thread::spawn(priority).join().unwrap(), IDLE);
    }
}
