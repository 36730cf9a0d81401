//! Order of postings.

use super::{KEY_BITS, Posting};

/// Bits of a key by which postings are distributed at a time.
const DIGIT_BITS: u32 = 10;
const DIGITS: usize = (KEY_BITS / DIGIT_BITS) as usize;

/// Fewer than so many are sorted by comparing them, which then is quicker.
const FEW: usize = 1024;

/// Brings postings into order that are in order of time and row: by key first. Quicker than comparing them.
pub fn by_key(postings: &mut Vec<Posting>) {
    if postings.len() < FEW {
        postings.sort_unstable();
        return;
    }
    let digit = |posting: &Posting, place: usize| {
        (posting.prefix() >> (place as u32 * DIGIT_BITS)) as usize & ((1 << DIGIT_BITS) - 1)
    };
    let mut counts = [[0; 1 << DIGIT_BITS]; DIGITS];
    for posting in postings.iter() {
        for (place, counts) in counts.iter_mut().enumerate() {
            counts[digit(posting, place)] += 1;
        }
    }
    let mut others = postings.clone();
    for (place, counts) in counts.iter_mut().enumerate() {
        let mut begin = 0;
        for count in counts.iter_mut() {
            begin += std::mem::replace(count, begin);
        }
        for posting in postings.iter() {
            let to = &mut counts[digit(posting, place)];
            others[*to] = *posting;
            *to += 1;
        }
        std::mem::swap(postings, &mut others);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn postings_in_order_of_time_come_into_the_order_of_postings(
            keys in proptest::collection::vec(prop_oneof![0..9_u64, 0..1_u64 << KEY_BITS], FEW - 2..4 * FEW),
            same in 1..5_usize,
        ) {
            let of = |(place, key): (usize, &u64)| {
                Posting::from_parts(*key, (place / same) as u64, u32::try_from(place % same).unwrap_or(0), 0)
            };
            let mut postings: Vec<_> = keys.iter().enumerate().map(of).collect();
            let mut sorted = postings.clone();
            sorted.sort();
            by_key(&mut postings);
            prop_assert_eq!(postings, sorted);
        }
    }
}
