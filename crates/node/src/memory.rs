//! What the process asks of the operating system's memory.

/// Asks for memory in small pages, from now on and for the whole process.
///
/// The allocator asks for pages of 2 MiB where the system grants them on request, and gives each
/// thread memory of its own: so a node that starts has tens of MiB cleared by the kernel that it
/// never uses, and stands still meanwhile. It is of no consequence where the system has none.
pub fn small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "large pages stay");
    }
}
