//! Which rows are read as ranges: a walk over everything wants nearly all rows of a range, and a range costs a store much
//! less than as many rows one by one.

use std::ops::RangeInclusive;

/// Rows of a block are read as one range, if so many are wanted. What is read at once is a block at most.
const BLOCK: i64 = 1024;

/// Of a range at least one row in so many is wanted: reading a row along costs a third of finding one.
const SPARSEST: usize = 3;

/// Of a block at least so many rows are wanted.
const FEWEST: usize = 32;

/// Rows, divided into ranges and those that are found one by one.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Runs {
    /// Most rows of these are wanted, and some that are not may be among them.
    pub ranges: Vec<RangeInclusive<i64>>,
    /// All others, in order.
    pub single: Vec<i64>,
}

impl Runs {
    /// Divides rows, which are in order.
    #[must_use]
    pub fn of(rows: &[i64]) -> Self {
        let mut runs = Self::default();
        for block in rows.chunk_by(|a, b| a.div_euclid(BLOCK) == b.div_euclid(BLOCK)) {
            let (Some(first), Some(last)) = (block.first(), block.last()) else { continue };
            // At most a block.
            let span = (last - first + 1).unsigned_abs() as usize;
            if block.len() >= FEWEST && block.len() * SPARSEST >= span {
                runs.ranges.push(*first..=*last);
            } else {
                runs.single.extend(block);
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_together_is_a_range_and_the_rest_is_not() {
        let rows = |rows: &mut dyn Iterator<Item = i64>| Runs::of(&rows.collect::<Vec<_>>());
        assert_eq!(rows(&mut (0..0)), Runs::default());
        assert_eq!(rows(&mut (5..2100)).ranges, [5..=1023, 1024..=2047, 2048..=2099]);
        let every = |step| rows(&mut (0..1024).step_by(step));
        assert_eq!((every(3).ranges, every(3).single), (vec![0..=1023], vec![]));
        assert!(every(4).ranges.is_empty());
        assert_eq!(every(4).single, (0..1024).step_by(4).collect::<Vec<_>>());
        assert_eq!(rows(&mut (0..31)).single.len(), 31);
        assert_eq!(rows(&mut (-40..-2)).ranges, [-40..=-3]);
        let ends = rows(&mut [i64::MIN, 7, i64::MAX].into_iter());
        assert_eq!(ends.single, [i64::MIN, 7, i64::MAX]);
    }
}
