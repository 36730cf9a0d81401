//! One budget of memory, and what each part of the backend may take of it, so that resident memory stays below it whatever
//! comes in, is away, or is asked. The parts hold to octets that they can count; what these cost in memory is known from
//! measurements (`docs/performance.md`), and is what the shares are made of.

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

    /// Octets of packets that streams have begun: an eighth of the budget.
    #[must_use]
    pub const fn stream_bytes(self) -> u64 {
        self.bytes / 8
    }

    /// Octets of the embedded store's page caches, all files together: an eighth of the budget.
    #[must_use]
    pub const fn store_cache_bytes(self) -> u64 {
        self.bytes / 8
    }

    /// Octets that searches may hold, all together: an eighth of the budget.
    #[must_use]
    pub const fn search_bytes(self) -> u64 {
        self.bytes / 8
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
    fn the_shares_with_what_they_cost_fill_the_budget_and_no_more() {
        for bytes in [LEAST_BYTES, 512 << 20, 64 << 30] {
            let budget = Budget::new(bytes);
            let shares = 2 * budget.spool_bytes()
                + 5 * budget.flush_bytes()
                + budget.stream_bytes()
                + budget.store_cache_bytes()
                + budget.search_bytes()
                // The program itself, stacks of threads, buffers of datagrams, counters.
                + bytes / 16;
            assert_eq!(shares, bytes);
        }
    }
}
