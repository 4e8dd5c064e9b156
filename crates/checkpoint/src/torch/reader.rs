//! Reads the arguments of opcodes. Every length is checked against what is left before anything is taken.

use super::{Fault, FaultKind};

/// The bytes of a pickle, and the position in them.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// An error at this position.
    pub(super) fn fault(&self, problem: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        Fault { offset: self.position, kind: FaultKind::Invalid(problem.into()) }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.position..];
        let Some((taken, _)) = rest.split_at_checked(count) else {
            return Err(self.fault(format!("{count} bytes are announced, {} are left", rest.len())));
        };
        self.position += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.fault("the pickle ends too early"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length of 1, 4 or 8 bytes.
    pub(super) fn length<const N: usize>(&mut self) -> Result<usize, Fault> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.fault("a length does not fit this machine"))
    }

    /// A string behind a length of `N` bytes.
    pub(super) fn string<const N: usize>(&mut self) -> Result<&'a str, Fault> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        self.utf8(bytes)
    }

    /// The rest of a line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.position..];
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return Err(self.fault("a line does not end"));
        };
        self.position += end + 1;
        self.utf8(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    /// A string in quotes on a line, as protocol 0 writes it. Escapes are refused: no name of a tensor needs them.
    pub(super) fn quoted(&mut self) -> Result<&'a str, Fault> {
        let line = self.line()?;
        let inner = ['\'', '"'].iter().find_map(|&quote| line.strip_prefix(quote)?.strip_suffix(quote));
        inner.filter(|text| !text.contains('\\')).ok_or_else(|| self.fault("a string without quotes, or with escapes"))
    }

    /// A signed integer of any length up to 8 bytes, little-endian.
    pub(super) fn long(&mut self, length: usize) -> Result<i64, Fault> {
        let bytes = self.take(length)?;
        if length > 8 {
            return Err(self.fault(format!("an integer of {length} bytes")));
        }
        let sign = bytes.last().map_or(0, |&b| if b & 0x80 == 0 { 0 } else { 0xff });
        let mut wide = [sign; 8];
        wide[..length].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    /// A number written in decimal digits on a line.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Result<T, Fault> {
        let line = self.line()?;
        line.trim_end_matches('L').parse().map_err(|_| self.fault("a line is not the number that it should be"))
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, Fault> {
        std::str::from_utf8(bytes).map_err(|_| self.fault("a string is not UTF-8"))
    }
}
