//! How a record is written in a file, and whether what is found there is what was written.
//!
//! A record is written with one write. A process that is killed leaves whole ones, and perhaps the beginning of one more at the
//! end; anything else is damage. So its length is there twice: a wrong one is not taken for an end.

use std::io;

use twox_hash::XxHash3_64;

/// Bytes before what is said: its length, the same inverted, the checksum of all that follows, and a number.
const HEADER: usize = 24;

/// Where the number begins, from which on the checksum counts.
const NUMBER: usize = 16;

/// How the records of a file end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the last record.
    Whole,
    /// In the middle of a record.
    Torn,
    /// With something that nobody wrote.
    Wrong,
}

/// The records in the bytes of a file, up to the first that is not whole.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    /// How they end, as far as it is known.
    pub(super) end: End,
}

/// Begins a record in an empty `buffer`; what it says is appended.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER, 0);
}

/// Whether nothing was said in it yet.
pub(super) fn is_empty(buffer: &[u8]) -> bool {
    buffer.len() <= HEADER
}

/// Finishes the record in `buffer`, which gets this number. Fails when it says too much.
pub(super) fn finish(buffer: &mut [u8], number: u64) -> io::Result<()> {
    let length = u32::try_from(buffer.len() - HEADER).map_err(|_| io::ErrorKind::FileTooLarge)?;
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[4..8].copy_from_slice(&(!length).to_le_bytes());
    buffer[NUMBER..HEADER].copy_from_slice(&number.to_le_bytes());
    let sum = XxHash3_64::oneshot(&buffer[NUMBER..]);
    buffer[8..NUMBER].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

impl<'a> Records<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: End::Whole }
    }

    fn stop<T>(&mut self, end: End) -> Option<T> {
        (self.rest, self.end) = (&[], end);
        None
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((lengths, _)) = self.rest.split_first_chunk::<8>() else { return self.stop(End::Torn) };
        let length = u32::from_le_bytes([lengths[0], lengths[1], lengths[2], lengths[3]]);
        let inverted = u32::from_le_bytes([lengths[4], lengths[5], lengths[6], lengths[7]]);
        if length != !inverted {
            return self.stop(End::Wrong);
        }
        let Some((record, rest)) = self.rest.split_at_checked(HEADER + length as usize) else {
            return self.stop(End::Torn);
        };
        let word = |at: usize| {
            u64::from_le_bytes(record[at..at + 8].try_into().expect("a record is no shorter than its header"))
        };
        if word(8) != XxHash3_64::oneshot(&record[NUMBER..]) {
            return self.stop(End::Wrong);
        }
        self.rest = rest;
        Some((word(NUMBER), &record[HEADER..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[(u64, &str)]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let write = |(number, text): &(u64, &str)| {
            begin(&mut buffer);
            buffer.extend_from_slice(text.as_bytes());
            finish(&mut buffer, *number).unwrap();
            buffer.clone()
        };
        records.iter().flat_map(write).collect()
    }

    fn read(bytes: &[u8]) -> (Vec<(u64, &[u8])>, End) {
        let mut records = Records::of(bytes);
        let read = records.by_ref().collect();
        (read, records.end)
    }

    #[test]
    fn wherever_a_file_is_cut_it_has_the_records_before() {
        let all: [(u64, &[u8]); 3] = [(1, b"one"), (7, b""), (u64::MAX, b"three")];
        let bytes = file(&[(1, "one"), (7, ""), (u64::MAX, "three")]);
        let ends = [0, 27, 51, 80];
        assert_eq!(bytes.len(), 80);
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let expected = if ends.contains(&cut) { End::Whole } else { End::Torn };
            assert_eq!(read(&bytes[..cut]), (all[..whole].to_vec(), expected), "{cut}");
        }
    }

    #[test]
    fn whichever_bit_is_wrong_nothing_is_read_from_there_on_and_it_is_no_end() {
        let bytes = file(&[(1, "one"), (2, "two")]);
        for bit in 0..bytes.len() * 8 {
            let mut wrong = bytes.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let (records, end) = read(&wrong);
            assert_eq!((records.len(), end), (usize::from(bit / 8 >= 27), End::Wrong), "{bit}");
        }
    }
}
