//! Whether the write-ahead log still has what it had.
//!
//! SQLite reads its log up to the first frame that does not fit and takes the rest for a write that was cut short, so damage in
//! the middle would take back what was acknowledged after it, without a word. But the index beside it, which the last process
//! left behind, says how far the log went. It is only written after a commit is on the disk, so whatever it promises and the log
//! has not was lost. (The formats: <https://sqlite.org/walformat.html>.)

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Bytes before the first frame.
pub(super) const HEADER: u64 = 32;

/// Bytes before the page in each frame.
pub(super) const FRAME_HEADER: u64 = 24;

/// The number that a log begins with; one more when its checksums are big-endian.
const MAGIC: u32 = 0x377f_0682;

/// What a log has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Loss {
    /// The last of its frames.
    #[error("{readable} of {promised} pages can be read")]
    Short {
        /// Frames that can be read.
        readable: u32,
        /// Frames that there were when the last commit was done.
        promised: u32,
    },
    /// All of it: another file has its name.
    #[error("it is no write-ahead log")]
    Foreign,
}

/// What of `log` is lost, going by `index`. `None` when nothing is, and when there is no index that says so.
pub(super) fn loss(log: &Path, index: &Path) -> io::Result<Option<Loss>> {
    if let Some(mut file) = existing(log)? {
        let mut magic = [0; 4];
        // One whose beginning never reached the disk has nothing that was acknowledged.
        let is_foreign =
            fills(&mut file, &mut magic)? && magic != [0; 4] && u32::from_be_bytes(magic) & !1 != MAGIC;
        if is_foreign {
            return Ok(Some(Loss::Foreign));
        }
    }
    let Some(promise) = existing(index)?.map(promise).transpose()?.flatten() else { return Ok(None) };
    if promise.frames == 0 {
        return Ok(None);
    }
    let readable = match existing(log)? {
        Some(file) => readable(BufReader::with_capacity(1 << 16, file), promise.salts)?,
        None => 0,
    };
    let short = Loss::Short { readable, promised: promise.frames };
    Ok((readable < promise.frames).then_some(short))
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

struct Promise {
    frames: u32,
    salts: [u8; 8],
}

/// What an index says, if it is whole. Its numbers are those of this machine.
fn promise(mut index: File) -> io::Result<Option<Promise>> {
    let mut header = [0; 48];
    if !fills(&mut index, &mut header)? {
        return Ok(None);
    }
    let (body, sums) = header.split_at(40);
    let expected = sum(body, [0, 0], u32::from_ne_bytes);
    let is_whole = header[12] == 1 && sums == [expected[0].to_ne_bytes(), expected[1].to_ne_bytes()].concat();
    let mut salts = [0; 8];
    salts.copy_from_slice(&header[32..40]);
    Ok(is_whole.then(|| Promise { frames: word(&header, 16, u32::from_ne_bytes), salts }))
}

/// How many frames fit, from the start of a log with these salts.
fn readable(mut log: impl Read, salts: [u8; 8]) -> io::Result<u32> {
    let mut header = [0; HEADER as usize];
    if !fills(&mut log, &mut header)? {
        return Ok(0);
    }
    let magic = word(&header, 0, u32::from_be_bytes);
    let order = if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
    let mut sums = sum(&header[..24], [0, 0], order);
    let page = word(&header, 8, u32::from_be_bytes) as usize;
    let fits = magic & !1 == MAGIC
        && page.is_power_of_two()
        && (512..=65_536).contains(&page)
        && header[16..24] == salts
        && sums == [word(&header, 24, u32::from_be_bytes), word(&header, 28, u32::from_be_bytes)];
    let mut frame = vec![0; FRAME_HEADER as usize + page.min(65_536)];
    let mut frames = 0;
    while fits && fills(&mut log, &mut frame)? {
        sums = sum(&frame[..8], sums, order);
        sums = sum(&frame[FRAME_HEADER as usize..], sums, order);
        let said = [word(&frame, 16, u32::from_be_bytes), word(&frame, 20, u32::from_be_bytes)];
        if frame[8..16] != salts || sums != said {
            break;
        }
        frames += 1;
    }
    Ok(frames)
}

fn fills(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize, order: fn([u8; 4]) -> u32) -> u32 {
    order([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// SQLite's checksum of its log, going on from `sums`.
fn sum(bytes: &[u8], sums: [u32; 2], order: fn([u8; 4]) -> u32) -> [u32; 2] {
    let [mut first, mut second] = sums;
    for pair in bytes.chunks_exact(8) {
        first = first.wrapping_add(word(pair, 0, order)).wrapping_add(second);
        second = second.wrapping_add(word(pair, 4, order)).wrapping_add(first);
    }
    [first, second]
}
