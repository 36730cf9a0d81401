//! How much of a store one step of a walk brings into memory, however large what it comes to is.

use super::{StoreError, Walk};

/// What the packs of a step come to at most, octets, unless it is a step of one slice. While they come, those of each shard may be as many.
pub const MOST_WALKED_BYTES: usize = 4 << 20;

/// What is left of so many octets of packs.
#[derive(Debug)]
pub struct Room(usize);

impl Room {
    /// That of a step of this walk.
    #[must_use]
    pub const fn of(walk: &Walk) -> Self {
        if walk.limit > 1 { Self::bounded() } else { Self::unbounded() }
    }

    /// That of a step of more than one slice.
    #[must_use]
    pub const fn bounded() -> Self {
        Self(MOST_WALKED_BYTES)
    }

    /// More than there ever is to read.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self(usize::MAX)
    }

    /// Takes so many octets of it.
    ///
    /// # Errors
    /// When there are not so many.
    pub fn take(&mut self, bytes: usize) -> Result<(), StoreError> {
        self.0 = self.0.checked_sub(bytes).ok_or(StoreError::TooMuch)?;
        Ok(())
    }
}
