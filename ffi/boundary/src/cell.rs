//! A variable at an address that the host knows.

use std::cell::UnsafeCell;

/// Holds a table or value that the host's loader reads or writes through a pointer, such as a module parameter.
///
/// The host works on it while it loads its configuration, in one thread and before any process is forked; afterwards
/// nobody writes.
#[repr(transparent)]
pub struct HostCell<T>(UnsafeCell<T>);

// SAFETY: writes happen only while the host loads its configuration, single-threaded; later there are only reads.
unsafe impl<T> Sync for HostCell<T> {}

impl<T> HostCell<T> {
    /// A cell with its value from before the host writes it.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The address to hand to the host.
    pub const fn pointer(&self) -> *mut T {
        self.0.get()
    }

    /// What the host has left in it.
    ///
    /// # Safety
    /// The host must be past writing: call it from `mod_init` on.
    pub unsafe fn read(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: the pointer is always valid, and the caller promises that nobody writes meanwhile.
        unsafe { self.0.get().read() }
    }
}
