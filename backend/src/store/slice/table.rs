//! What all messages of a slice have in common, each once.

use std::collections::HashMap;
use std::hash::Hash;

/// Up to so many values a table is searched from its start, which is quicker than hashing.
const MOST_SEARCHED: usize = 24;

/// Values in order of first use, each once.
pub struct Table<T> {
    pub values: Vec<T>,
    /// Places of the values, once they are many.
    places: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Copy + Eq + Hash> Table<T> {
    /// Forgets all values, and keeps their memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.places.clear();
    }

    /// The place of a value.
    pub fn index(&mut self, value: T) -> u32 {
        let place = if self.places.is_empty() {
            self.values.iter().position(|known| *known == value).and_then(|place| u32::try_from(place).ok())
        } else {
            self.places.get(&value).copied()
        };
        if let Some(place) = place {
            return place;
        }
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value);
        if !self.places.is_empty() {
            self.places.insert(value, place);
        } else if self.values.len() > MOST_SEARCHED {
            self.places = self.values.iter().copied().zip(0..).collect();
        }
        place
    }
}
