//! Which packs are read as ranges: a walk over everything wants nearly all packs of a range, and a range costs a store much
//! less than as many rows one by one.

use std::ops::RangeInclusive;

/// Packs of a block are read as one range, if so many are wanted. What is read at once is a block at most.
const BLOCK: i64 = 256;

/// Of a range at least one pack in so many is wanted: reading one along costs a third of finding one.
const SPARSEST: usize = 3;

/// Of a block at least so many packs are wanted.
const FEWEST: usize = 8;

/// Numbers of packs, divided into ranges and those that are found one by one.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Runs {
    /// Most packs of these are wanted, and some that are not may be among them.
    pub ranges: Vec<RangeInclusive<i64>>,
    /// All others, in order.
    pub single: Vec<i64>,
}

impl Runs {
    /// Divides numbers, which are in order.
    #[must_use]
    pub fn of(packs: &[i64]) -> Self {
        let mut runs = Self::default();
        for block in packs.chunk_by(|a, b| a.div_euclid(BLOCK) == b.div_euclid(BLOCK)) {
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
        let runs = |packs: &mut dyn Iterator<Item = i64>| Runs::of(&packs.collect::<Vec<_>>());
        assert_eq!(runs(&mut (0..0)), Runs::default());
        assert_eq!(runs(&mut (5..530)).ranges, [5..=255, 256..=511, 512..=529]);
        let every = |step| runs(&mut (0..256).step_by(step));
        assert_eq!((every(3).ranges, every(3).single), (vec![0..=255], vec![]));
        assert!(every(4).ranges.is_empty());
        assert_eq!(every(4).single, (0..256).step_by(4).collect::<Vec<_>>());
        assert_eq!(runs(&mut (0..7)).single.len(), 7);
        assert_eq!(runs(&mut (-20..-2)).ranges, [-20..=-3]);
        let ends = runs(&mut [i64::MIN, 7, i64::MAX].into_iter());
        assert_eq!(ends.single, [i64::MIN, 7, i64::MAX]);
    }
}
