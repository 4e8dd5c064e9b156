//! Element types, and the casts between those that weights have.

use std::fmt;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The type of a tensor's elements, little-endian on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a single.
    BF16,
    /// Signed, 8 bytes.
    I64,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 2 bytes.
    I16,
    /// Signed byte.
    I8,
    /// Unsigned byte.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    const ALL: [Self; 10] =
        [Self::F64, Self::F32, Self::F16, Self::BF16, Self::I64, Self::I32, Self::I16, Self::I8, Self::U8, Self::Bool];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// Name in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// Name in `torch_dtype` of a `config.json`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::I64 => "int64",
            Self::I32 => "int32",
            Self::I16 => "int16",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// The type of this name in a safetensors header.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Elements that are converted at a time; the buffers stay in the first-level cache.
pub(crate) const BLOCK: usize = 4096;

/// Why a cast stopped: the element that is not finite, and whether it was so in the source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NotFinite {
    /// NaN or infinity in the file.
    Source { index: usize, value: f64 },
    /// Finite in the file, too large for the new type.
    Overflow { index: usize, value: f64 },
}

/// Converts little-endian floats to `f32`, block by block; `sink` takes each block.
///
/// Stops at the first value that is not finite, in the source or as `f32`. Bytes of another type give nothing.
pub(crate) fn for_each_f32_block<E: From<NotFinite>>(
    dtype: Dtype,
    bytes: &[u8],
    mut sink: impl FnMut(&[f32]) -> Result<(), E>,
) -> Result<(), E> {
    let mut out = [0.0_f32; BLOCK];
    let mut halves = [f16::ZERO; BLOCK];
    let mut brains = [bf16::ZERO; BLOCK];
    for (number, block) in bytes.chunks(BLOCK * dtype.size()).enumerate() {
        let count = block.len() / dtype.size();
        let out = &mut out[..count];
        match dtype {
            Dtype::F32 => fill(out, block, f32::from_le_bytes),
            Dtype::F16 => {
                fill(&mut halves[..count], block, f16::from_le_bytes);
                halves[..count].convert_to_f32_slice(out);
            }
            Dtype::BF16 => {
                fill(&mut brains[..count], block, bf16::from_le_bytes);
                brains[..count].convert_to_f32_slice(out);
            }
            Dtype::F64 => fill(out, block, |b| f64::from_le_bytes(b) as f32),
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::Bool => return Ok(()),
        }
        if let Some(at) = first_not_finite(out) {
            let index = number * BLOCK + at;
            let double = block.get(at * 8..at * 8 + 8).and_then(|b| b.try_into().ok()).map(f64::from_le_bytes);
            return Err(E::from(match double.filter(|_| dtype == Dtype::F64) {
                Some(value) if value.is_finite() => NotFinite::Overflow { index, value },
                _ => NotFinite::Source { index, value: f64::from(out[at]) },
            }));
        }
        sink(out)?;
    }
    Ok(())
}

/// Appends `values` as `dtype`; the error is the first value that does not stay finite. `base` is the index of the first one.
pub(crate) fn encode(dtype: Dtype, values: &[f32], base: usize, out: &mut Vec<u8>) -> Result<(), NotFinite> {
    let overflow = |at: usize| NotFinite::Overflow { index: base + at, value: f64::from(values[at]) };
    match dtype {
        Dtype::F16 => {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            if let Some(at) = halves.iter().position(|h| !h.is_finite()) {
                return Err(overflow(at));
            }
            out.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
        }
        Dtype::BF16 => {
            let mut brains = vec![bf16::ZERO; values.len()];
            brains.convert_from_f32_slice(values);
            if let Some(at) = brains.iter().position(|h| !h.is_finite()) {
                return Err(overflow(at));
            }
            out.extend(brains.iter().flat_map(|h| h.to_le_bytes()));
        }
        _ => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
    Ok(())
}

fn fill<T, const N: usize>(out: &mut [T], bytes: &[u8], read: impl Fn([u8; N]) -> T) {
    for (slot, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *slot = read(*chunk);
    }
}

/// The test without a branch is one that the compiler vectorises; the search runs only when it fails.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let bad = values.iter().fold(0_u32, |bad, v| bad | u32::from(v.to_bits() & EXPONENT == EXPONENT));
    if bad == 0 { None } else { values.iter().position(|v| !v.is_finite()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, NotFinite> {
        let mut all = Vec::new();
        for_each_f32_block(dtype, bytes, |block| {
            all.extend_from_slice(block);
            Ok::<(), NotFinite>(())
        })?;
        Ok(all)
    }

    #[test]
    fn names_read_back() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("F8_E4M3"), None);
        assert_eq!(Dtype::from_name("f32"), None);
    }

    #[test]
    fn every_float_type_reads_as_f32_over_a_block_border() {
        let values: Vec<f32> = (0..2 * BLOCK + 3).map(|i| (i % 64) as f32 * 0.25 - 4.0).collect();
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let mut bytes = Vec::new();
            encode(dtype, &values, 0, &mut bytes).unwrap();
            assert_eq!(bytes.len(), values.len() * dtype.size());
            assert_eq!(read(dtype, &bytes).unwrap(), values, "{dtype}");
        }
        let doubles: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        assert_eq!(read(Dtype::F64, &doubles).unwrap(), values);
    }

    #[test]
    fn what_is_not_finite_is_found_at_its_index() {
        let mut values = vec![1.0_f32; BLOCK + 9];
        values[BLOCK + 7] = f32::NEG_INFINITY;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let expected = NotFinite::Source { index: BLOCK + 7, value: f64::NEG_INFINITY };
        assert_eq!(read(Dtype::F32, &bytes), Err(expected));
        assert!(matches!(read(Dtype::F16, &[0, 0, 0, 0x7e]), Err(NotFinite::Source { index: 1, .. })));
        assert!(matches!(read(Dtype::BF16, &[0xc0, 0x7f]), Err(NotFinite::Source { index: 0, .. })));
        let expected = NotFinite::Overflow { index: 0, value: 1e39 };
        assert_eq!(read(Dtype::F64, &1e39_f64.to_le_bytes()), Err(expected));
        assert!(matches!(read(Dtype::F64, &f64::NAN.to_le_bytes()), Err(NotFinite::Source { index: 0, .. })));
    }

    #[test]
    fn casts_that_overflow_are_errors() {
        let expected = Err(NotFinite::Overflow { index: 11, value: 65520.0 });
        assert_eq!(encode(Dtype::F16, &[65504.0, 65520.0], 10, &mut Vec::new()), expected);
        assert!(encode(Dtype::BF16, &[f32::MAX], 0, &mut Vec::new()).is_err());
        assert!(encode(Dtype::BF16, &[65520.0], 0, &mut Vec::new()).is_ok());
    }
}
