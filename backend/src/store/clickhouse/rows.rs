//! Rows in RowBinary: numbers little endian, a string as its length (LEB128) and its octets.

use bytes::{Buf, BufMut, Bytes};

/// An answer is not made of the rows that were asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer ends within a row, or a string is longer than the answer")]
pub struct RowError;

/// Rows that are read from an answer, one column after the other.
pub struct Rows(Bytes);

impl Rows {
    pub const fn new(answer: Bytes) -> Self {
        Self(answer)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn i64(&mut self) -> Result<i64, RowError> {
        self.0.try_get_i64_le().map_err(|_short| RowError)
    }

    pub fn u64(&mut self) -> Result<u64, RowError> {
        self.0.try_get_u64_le().map_err(|_short| RowError)
    }

    pub fn octets(&mut self) -> Result<Bytes, RowError> {
        let length = self.length()?;
        if length > self.0.len() { Err(RowError) } else { Ok(self.0.split_to(length)) }
    }

    /// A list of numbers.
    pub fn times(&mut self) -> Result<Vec<i64>, RowError> {
        let length = self.length()?;
        if length > self.0.len() / 8 {
            return Err(RowError);
        }
        (0..length).map(|_| self.i64()).collect()
    }

    fn length(&mut self) -> Result<usize, RowError> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let octet = self.0.try_get_u8().map_err(|_short| RowError)?;
            length |= usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                return Ok(length);
            }
            if shift > 28 {
                return Err(RowError);
            }
        }
    }

    pub fn text(&mut self) -> Result<String, RowError> {
        Ok(String::from_utf8_lossy(&self.octets()?).into_owned())
    }
}

/// Appends a string.
pub fn put_octets(row: &mut Vec<u8>, octets: &[u8]) {
    put_length(row, octets.len());
    row.extend_from_slice(octets);
}

/// Appends a list of numbers.
pub fn put_times(row: &mut Vec<u8>, times: impl Iterator<Item = i64> + Clone) {
    put_length(row, times.clone().count());
    times.for_each(|time| row.put_i64_le(time));
}

fn put_length(row: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        row.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    row.put_u8((length & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_any_length_comes_back() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let octets = vec![7; length];
            let mut row = Vec::new();
            put_octets(&mut row, &octets);
            let mut rows = Rows::new(row.into());
            assert_eq!(rows.octets().expect("a string"), octets);
            assert!(rows.is_empty());
        }
    }

    #[test]
    fn a_list_of_numbers_comes_back_and_one_that_is_cut_is_refused() {
        for times in [&[][..], &[-1], &[i64::MIN, 0, i64::MAX]] {
            let mut row = Vec::new();
            put_times(&mut row, times.iter().copied());
            let cut = row.len() - 1;
            assert_eq!(Rows::new(row.clone().into()).times().expect("a list"), times);
            assert_eq!(Rows::new(Bytes::from(row).slice(..cut)).times(), Err(RowError));
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_lies_about_a_length_is_refused() {
        for answer in [&b""[..], b"\x05four", b"\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            assert_eq!(Rows::new(Bytes::from_static(answer)).octets(), Err(RowError), "{answer:?}");
        }
        assert_eq!(Rows::new(Bytes::from_static(b"1234567")).i64(), Err(RowError));
        assert_eq!(Rows::new(Bytes::from_static(b"1234567")).u64(), Err(RowError));
    }
}
