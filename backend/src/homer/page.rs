//! How many rows are read at once, and where a page may end: never between two rows of the same microsecond, since the
//! time alone tells where the next page begins. Homer's tables have no other order that an index gives.

use super::row::Row;

/// Rows of a table's first page.
pub const FIRST_ROWS: usize = 1_000;
/// Rows of a page, unless more of them are of one microsecond.
const MOST_ROWS: usize = 20_000;
/// Octets after which a page ends before all its rows are read.
const MOST_BYTES: usize = 32 << 20;

/// Rows by time, each microsecond of them whole.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    wanted: usize,
    bytes: usize,
    /// Whether rows were left behind because of their octets.
    is_cut: bool,
}

impl Page {
    /// A page that so many rows were asked for.
    pub fn of(wanted: usize) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Takes the next row; `false` if the page is full, and the row is of the next.
    pub fn take(&mut self, row: Row) -> bool {
        let is_next = self.rows.last().is_some_and(|last| last.at_us != row.at_us);
        if is_next && self.bytes >= MOST_BYTES {
            self.is_cut = true;
            return false;
        }
        self.bytes += row.bytes();
        self.rows.push(row);
        true
    }

    /// Leaves the rows of the last microsecond to the next page, if there may be more of it. `false` if there is nothing
    /// else: then as many rows must be asked for as [`Self::next_rows`] says.
    pub fn close(&mut self) -> bool {
        if self.is_cut || self.rows.len() < self.wanted {
            return true;
        }
        let last_us = self.end_us();
        self.rows.truncate(self.rows.partition_point(|row| Some(row.at_us) != last_us));
        !self.rows.is_empty()
    }

    /// The time up to which all rows are in here; `None` if there are none.
    pub fn end_us(&self) -> Option<i64> {
        self.rows.last().map(|row| row.at_us)
    }

    /// How many rows to ask for next.
    pub fn next_rows(&self) -> usize {
        if self.rows.is_empty() {
            return self.wanted.saturating_mul(2);
        }
        let each = (self.bytes / self.rows.len()).max(1);
        (MOST_BYTES / each).clamp(FIRST_ROWS, MOST_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_us: i64, octets: usize) -> Row {
        Row { at_us, raw: Some(vec![b'x'; octets]), ..Row::default() }
    }

    fn page(wanted: usize, times: &[i64]) -> (Page, bool) {
        let mut page = Page::of(wanted);
        assert!(times.iter().all(|at_us| page.take(row(*at_us, 10))));
        let is_good = page.close();
        (page, is_good)
    }

    #[test]
    fn a_page_ends_with_a_whole_microsecond() {
        let (page, is_good) = page(4, &[1, 2, 3, 3]);
        assert_eq!((page.rows.len(), page.end_us(), is_good), (2, Some(2), true));
        let (page, is_good) = self::page(5, &[1, 2, 3, 3]);
        assert_eq!((page.rows.len(), page.end_us(), is_good), (4, Some(3), true), "the table's last");
        let (page, is_good) = self::page(1, &[]);
        assert_eq!((page.end_us(), is_good), (None, true));
    }

    #[test]
    fn of_a_microsecond_with_more_rows_than_a_page_more_are_asked_for() {
        let (page, is_good) = page(3, &[5, 5, 5]);
        assert_eq!((is_good, page.next_rows()), (false, 6));
    }

    #[test]
    fn a_page_of_large_rows_ends_early_and_whole() {
        let mut page = Page::of(10);
        assert!(page.take(row(1, MOST_BYTES / 2)) && page.take(row(2, MOST_BYTES / 2)));
        assert!(page.take(row(2, 1)), "of the same microsecond");
        assert!(!page.take(row(3, 1)));
        assert!(page.close());
        assert_eq!((page.end_us(), page.next_rows()), (Some(2), FIRST_ROWS));
    }
}
