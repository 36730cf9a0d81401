//! Rows as `COPY … (format binary)` takes and gives them: a head; for each row the number of its columns, and for each
//! column its length and octets, big endian; an end mark. <https://www.postgresql.org/docs/13/sql-copy.html>
//!
//! COPY is the one way that this store reads and writes slices and postings. It costs the server least, needs no
//! prepared statement (so PgBouncer may hand each transaction to another connection), and one round trip.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use super::connection::within_limit;
use crate::store::{Room, StoreError};

/// Signature, flags, and the length of an extension: none.
const HEAD: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// In place of a number of columns, after the last row.
const END: [u8; 2] = (-1_i16).to_be_bytes();

/// So many octets are sent at once: enough that messages cost nothing, few enough that memory doesn't matter.
const CHUNK: usize = 256 * 1024;

/// Rows that are being written to a table.
pub struct Rows {
    octets: Vec<u8>,
}

impl Rows {
    /// None so far.
    pub fn new() -> Self {
        Self { octets: HEAD.to_vec() }
    }

    /// Begins a row of so many columns, each of which must then be given.
    pub fn row(&mut self, columns: i16) -> &mut Self {
        self.octets.extend_from_slice(&columns.to_be_bytes());
        self
    }

    /// A column of type `bigint`.
    pub fn bigint(&mut self, value: i64) -> &mut Self {
        self.bytea(&value.to_be_bytes())
    }

    /// A column of type `bytea`, at most 1 GiB.
    pub fn bytea(&mut self, value: &[u8]) -> &mut Self {
        // PostgreSQL refuses a longer value whatever its length says.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.octets.extend_from_slice(&length.to_be_bytes());
        self.octets.extend_from_slice(value);
        self
    }

    /// Copies all rows into a table, named with its columns: `slice (id, blob)`.
    pub async fn send(mut self, connection: &mut PgConnection, into: &str) -> Result<(), StoreError> {
        self.octets.extend_from_slice(&END);
        let mut copy =
            within_limit(connection.copy_in_raw(&format!("copy {into} from stdin (format binary)"))).await?;
        for chunk in self.octets.chunks(CHUNK) {
            within_limit(copy.send(chunk)).await?;
        }
        within_limit(copy.finish()).await?;
        Ok(())
    }
}

/// Rows that a query brought.
pub struct Found {
    octets: Bytes,
}

/// A row that is read column by column.
pub struct Row<'a> {
    rest: &'a [u8],
}

impl Found {
    /// Runs a query. All that goes into its text are numbers and names of our own.
    pub async fn query(
        connection: &mut PgConnection,
        query: &str,
        room: &mut Room,
    ) -> Result<Self, StoreError> {
        let octets = within_limit(async {
            let mut stream =
                connection.copy_out_raw(&format!("copy ({query}) to stdout (format binary)")).await?;
            let mut octets = Vec::new();
            while let Some(chunk) = stream.try_next().await? {
                if let Err(error) = room.take(chunk.len()) {
                    return Ok(Err(error));
                }
                octets.extend_from_slice(&chunk);
            }
            Ok(Ok(octets))
        })
        .await??;
        Ok(Self { octets: octets.into() })
    }

    /// A value of one of its rows, on its own without being copied: all rows stay in memory for as long as it does.
    pub fn share(&self, value: &[u8]) -> Bytes {
        self.octets.slice_ref(value)
    }

    /// Its rows, each read by `read`.
    pub fn read<'a, T>(
        &'a self,
        mut read: impl FnMut(&mut Row<'a>) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let malformed = || StoreError::from(sqlx::Error::Protocol("rows of COPY that cannot be read".into()));
        let mut rest = self.octets.strip_prefix(HEAD).ok_or_else(malformed)?;
        let mut rows = Vec::new();
        loop {
            let (columns, after) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
            if *columns == END {
                return Ok(rows);
            }
            let mut row = Row { rest: after };
            rows.push(read(&mut row).ok_or_else(malformed)?);
            rest = row.rest;
        }
    }
}

impl<'a> Row<'a> {
    /// The next column, `bytea` or `text`; `None` where the row is malformed, or the column null.
    pub fn bytea(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        self.rest = rest;
        Some(value)
    }

    /// The next column, a `bigint` that is not null.
    pub fn bigint(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.bytea()?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: Rows) -> Found {
        let mut octets = rows.octets;
        octets.extend_from_slice(&END);
        Found { octets: octets.into() }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut rows = Rows::new();
        rows.row(2).bigint(-7).bytea(b"");
        rows.row(2).bigint(i64::MAX).bytea(&[0xff; 300]);
        let read = found(rows).read(|row| Some((row.bigint()?, row.bytea()?.to_vec()))).expect("readable");
        assert_eq!(read, [(-7, vec![]), (i64::MAX, vec![0xff; 300])]);
        assert!(found(Rows::new()).read(|row| row.bigint()).expect("readable").is_empty());
    }

    #[test]
    fn what_is_cut_short_is_an_error_and_no_panic() {
        let mut rows = Rows::new();
        rows.row(2).bigint(1).bytea(b"payload");
        let whole = found(rows).octets;
        let read = |octets: &[u8]| {
            Found { octets: octets.to_vec().into() }.read(|row| {
                row.bigint()?;
                row.bytea().map(<[u8]>::to_vec)
            })
        };
        assert!(read(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} octets of {}", whole.len());
        }
        let mut negative = whole.to_vec();
        negative[21] = 0x80;
        assert!(read(&negative).is_err(), "a null where there can be none");
    }
}
