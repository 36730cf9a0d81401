//! One budget of memory, and what the queues of the backend may take of it, so that resident memory stays below it however
//! much comes in and however slow disk or store are. They hold to octets that they can count; what these cost in memory is
//! more, and is what the shares are made of. The rest of the budget, seven sixteenths, is for what has bounds of its own: streams
//! (`hep.tcp_connections`), readers of the store, the program itself; and for searches.

/// Least budget, octets.
pub const LEAST_BYTES: u64 = 128 << 20;

/// The budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    bytes: u64,
}

impl Budget {
    /// Of so many octets.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// Octets of records that may wait for the spool's disk. They lie in buffers that grow by doubling, so they cost twice
    /// as much: a quarter of the budget.
    #[must_use]
    pub const fn spool_bytes(self) -> u64 {
        self.bytes / 8
    }

    /// Octets of HEP that may be between spool and store: read, taken apart, cut into slices and compressed. They cost
    /// five times as much: five sixteenths of the budget.
    #[must_use]
    pub const fn flush_bytes(self) -> u64 {
        self.bytes / 16
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(512 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_leave_seven_sixteenths_to_the_rest() {
        for bytes in [LEAST_BYTES, 512 << 20, 64 << 30] {
            let budget = Budget::new(bytes);
            let queues = 2 * budget.spool_bytes() + 5 * budget.flush_bytes();
            assert_eq!(queues + 7 * (bytes / 16), bytes);
        }
    }
}
