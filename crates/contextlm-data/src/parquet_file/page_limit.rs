use std::fs::File;
use std::io::{BufRead, BufReader};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A file whose pages are refused before they are unpacked if they say that they are larger than so many bytes: a page is
/// held whole, and a small one can unpack to 2 GiB.
pub(super) struct PageLimit {
    pub(super) file: File,
    pub(super) most: u64,
}

impl Length for PageLimit {
    fn len(&self) -> u64 {
        Length::len(&self.file)
    }
}

impl ChunkReader for PageLimit {
    type T = BufReader<File>;

    /// The library reads the headers of pages with this, and what is in them with [`get_bytes`](Self::get_bytes).
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut reader = self.file.get_read(start)?;
        match unpacked(reader.fill_buf()?) {
            Some(bytes) if bytes > self.most => {
                let most = self.most;
                Err(ParquetError::General(format!("a page of {bytes} bytes, but no more than {most} are read at once")))
            }
            _ => Ok(reader),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.file.get_bytes(start, length)
    }
}

/// The second field of a page's header, the size of what it unpacks to. Header: Thrift's compact protocol, where a field that
/// follows on the one before and is an i32 begins with 0x15, and an i32 is a zigzag varint.
fn unpacked(header: &[u8]) -> Option<u64> {
    let [0x15, _kind, 0x15, value @ ..] = header else { return None };
    let mut zigzag = 0;
    for (index, byte) in value.iter().take(5).enumerate() {
        zigzag |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // A negative size is refused by the library.
            return (zigzag % 2 == 0).then_some(zigzag / 2);
        }
    }
    None
}
