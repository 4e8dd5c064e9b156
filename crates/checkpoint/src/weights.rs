//! Named tensors over mapped files: type, shape and bytes, read when they are asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::dtype::{NotFinite, first_not_finite, for_each_f32_block};
use crate::mmap::Region;
use crate::names::{Fate, Naming};
use crate::{CheckpointError, Dtype, int8};

/// Values that a thread checks at a time.
const PART: usize = 1 << 16;

/// The one scalar.
const LOGIT_SCALE: &str = "logit_scale";

/// One tensor of [`Weights`]. Row-major, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes; empty for a scalar.
    pub shape: &'a [usize],
    /// The elements: a slice of the file, or a copy where the file does not hold them in a row (torch files may).
    pub bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A tensor as its format describes it. Every element was checked to lie inside the region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes of the region that the elements lie in.
    pub(crate) span: Range<usize>,
    /// Steps between elements along each dimension; `None` where they lie in a row.
    pub(crate) strides: Option<Vec<usize>>,
}

impl View {
    /// Some rows: indices along the first dimension.
    fn rows(&self, rows: Range<usize>) -> Self {
        let mut view = self.clone();
        let strides = self.steps();
        let (Some(count), Some(step)) = (view.shape.first_mut(), strides.first()) else { return view };
        *count = rows.len();
        let size = self.dtype.size();
        let length = if view.shape.contains(&0) {
            0
        } else {
            view.shape.iter().zip(&strides).map(|(n, step)| (n - 1) * step).sum::<usize>() + 1
        };
        let start = self.span.start + rows.start * step * size;
        view.span = start..start + length * size;
        view
    }

    /// Equal shares of the rows; `None` where there are none.
    fn shares<const N: usize>(&self) -> Option<[Self; N]> {
        let rows = self.shape.first()?;
        let share = rows / N;
        rows.is_multiple_of(N).then(|| std::array::from_fn(|i| self.rows(i * share..(i + 1) * share)))
    }

    /// Rows become columns; `None` if it is no matrix.
    fn transposed(&self) -> Option<Self> {
        let [rows, columns] = *self.shape else { return None };
        let mut strides = self.steps();
        strides.reverse();
        Some(Self { shape: vec![columns, rows], strides: Some(strides), ..self.clone() })
    }

    /// Steps between elements along each dimension.
    fn steps(&self) -> Vec<usize> {
        self.strides.clone().unwrap_or_else(|| {
            let mut steps = vec![1_usize; self.shape.len()];
            for axis in (1..steps.len()).rev() {
                steps[axis - 1] = steps[axis].saturating_mul(self.shape[axis]);
            }
            steps
        })
    }
}

/// One file of a checkpoint, parsed.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) region: Region,
    /// Names as the file spells them, each once, in the file's order.
    pub(crate) tensors: Vec<(String, View)>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The tensors of a checkpoint under their Hugging Face names.
///
/// Files are mapped, not read: a tensor costs memory when its bytes are touched, and [`release`](Self::release) gives it back.
#[derive(Debug)]
pub struct Weights {
    regions: Vec<Region>,
    tensors: BTreeMap<String, (usize, View)>,
    /// Of the tensors in 8 bits, by the names of these.
    scales: BTreeMap<String, (usize, View)>,
    metadata: BTreeMap<String, String>,
    dropped: Vec<(String, &'static str)>,
    /// What was left out.
    spare: BTreeMap<String, (usize, View)>,
    renamed: Vec<(String, String)>,
    fingerprint: OnceLock<[u8; 32]>,
}

impl Weights {
    /// Puts the parts together under the names of Hugging Face.
    pub(crate) fn assemble(parts: Vec<Part>, naming: Naming) -> Result<Self, CheckpointError> {
        let mut weights = Self {
            regions: Vec::new(),
            tensors: BTreeMap::new(),
            scales: BTreeMap::new(),
            metadata: BTreeMap::new(),
            dropped: Vec::new(),
            spare: BTreeMap::new(),
            renamed: Vec::new(),
            fingerprint: OnceLock::new(),
        };
        let paths: Vec<PathBuf> = parts.iter().map(|part| part.path.clone()).collect();
        for (number, part) in parts.into_iter().enumerate() {
            let wrapped = Naming::is_wrapped(part.tensors.iter().map(|(name, _)| name.as_str()));
            for (name, view) in part.tensors {
                let unfit = |problem: &str| CheckpointError::Tensor {
                    path: part.path.clone(),
                    tensor: name.clone(),
                    problem: format!("{problem}: shape {:?}", view.shape),
                };
                let (renamed, views) = match naming.fate(&name, wrapped) {
                    Fate::Keep => (false, vec![(name.clone(), view)]),
                    Fate::Rename(new) => (true, vec![(new, view)]),
                    Fate::Split(names) => {
                        let shares = view.shares().ok_or_else(|| unfit("not query, key and value below each other"))?;
                        (true, names.into_iter().zip::<[View; 3]>(shares).collect())
                    }
                    Fate::Transpose(new) => {
                        (true, vec![(new, view.transposed().ok_or_else(|| unfit("not a matrix"))?)])
                    }
                    Fate::Drop { name: new, reason } => {
                        weights.dropped.push((name, reason));
                        weights.spare.insert(new, (number, view));
                        continue;
                    }
                };
                for (new, mut view) in views {
                    if new == LOGIT_SCALE && view.shape == [1] {
                        view = View { shape: Vec::new(), strides: None, ..view }; // both spellings are found
                    }
                    if renamed {
                        weights.renamed.push((name.clone(), new.clone()));
                    }
                    if weights.tensors.contains_key(&new) {
                        return Err(CheckpointError::Duplicate { path: part.path, tensor: new });
                    }
                    weights.tensors.insert(new, (number, view));
                }
            }
            weights.metadata.extend(part.metadata);
            weights.regions.push(part.region);
        }
        weights.pair_scales(&paths)?;
        Ok(weights)
    }

    /// Takes the scales of tensors in 8 bits from among the tensors.
    fn pair_scales(&mut self, paths: &[PathBuf]) -> Result<(), CheckpointError> {
        let short = self.tensors.iter().filter(|(_, (_, view))| view.dtype == Dtype::I8);
        for name in short.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let scale = int8::scale_name(&name);
            let Some((part, view)) = self.tensors.remove(&scale) else { continue };
            let shape = self.shape(&name).unwrap_or_default();
            if !int8::fit(view.dtype, &view.shape, shape) {
                let problem = format!("{} {:?} is no scale of shape {shape:?}", view.dtype, view.shape);
                return Err(CheckpointError::Tensor { path: paths[part].clone(), tensor: scale, problem });
            }
            self.scales.insert(name, (part, view));
        }
        Ok(())
    }

    /// Every name, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Whether there is a tensor of this name, left out or not.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A tensor by its name. What was left out is found, too: some part of a model may want it.
    fn find(&self, name: &str) -> Option<&(usize, View)> {
        self.tensors.get(name).or_else(|| self.spare.get(name))
    }

    /// The type of a tensor, without touching its bytes. One in 8 bits with scales is f32 to whoever reads it.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        let (_, view) = self.find(name)?;
        Some(if self.scales.contains_key(name) { Dtype::F32 } else { view.dtype })
    }

    /// Whether there are tensors in 8 bits with scales.
    pub fn is_int8(&self) -> bool {
        !self.scales.is_empty()
    }

    /// The shape of a tensor, without touching its bytes.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|(_, view)| view.shape.as_slice())
    }

    /// A tensor.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        let found @ (_, view) = self.find(name)?;
        let bytes = self.elements(found)?;
        let bytes = match self.scales.get(name) {
            None => bytes,
            Some(scale) => int8::widened(&bytes, &self.elements(scale)?, *view.shape.last()?),
        };
        Some(Tensor { dtype: self.dtype(name)?, shape: &view.shape, bytes })
    }

    fn elements(&self, (part, view): &(usize, View)) -> Option<Cow<'_, [u8]>> {
        let bytes = self.regions.get(*part)?.bytes().get(view.span.clone())?;
        Some(match &view.strides {
            None => Cow::Borrowed(bytes),
            Some(strides) => Cow::Owned(gather(bytes, view.dtype.size(), &view.shape, strides)),
        })
    }

    /// The elements of a floating-point tensor as `f32`, in row-major order: a slice of the file where it holds them so.
    ///
    /// # Errors
    /// No such tensor, a tensor of integers, or a value that is NaN or infinite, in the file or (from `f64`) as `f32`.
    pub fn f32(&self, name: &str) -> Result<Cow<'_, [f32]>, CheckpointError> {
        let tensor = self.get(name).ok_or_else(|| CheckpointError::NoSuchTensor { tensor: name.into() })?;
        if let Some(values) = tensor.finite_f32() {
            return Ok(Cow::Borrowed(values));
        }
        let mut values = Vec::with_capacity(tensor.len());
        tensor.for_each_f32_block(name, |block| {
            values.extend_from_slice(block);
            Ok(())
        })?;
        Ok(Cow::Owned(values))
    }

    /// A copy of [`f32`](Self::f32).
    pub fn to_f32(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        self.f32(name).map(Cow::into_owned)
    }

    /// Tells the system that the pages of this tensor are not needed for now, so that loading tensor by tensor keeps about one
    /// copy of the model in memory. The tensor can still be read: its bytes then come from the file again.
    pub fn release(&self, name: &str) {
        if let Some((part, view)) = self.find(name)
            && let Some(region) = self.regions.get(*part)
        {
            region.release(view.span.clone());
        }
    }

    /// Number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|(_, view)| view.shape.iter().product::<usize>() as u64).sum()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(|(_, v)| (v.shape.iter().product::<usize>() * v.dtype.size()) as u64).sum()
    }

    /// How many tensors there are of each type, the largest share of the bytes first.
    pub fn dtypes(&self) -> Vec<(Dtype, usize)> {
        let mut shares: BTreeMap<Dtype, (usize, usize)> = BTreeMap::new();
        for (_, view) in self.tensors.values() {
            let share = shares.entry(view.dtype).or_default();
            share.0 += view.shape.iter().product::<usize>() * view.dtype.size();
            share.1 += 1;
        }
        let mut shares: Vec<_> = shares.into_iter().collect();
        shares.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
        shares.into_iter().map(|(dtype, (_, count))| (dtype, count)).collect()
    }

    /// Metadata of the safetensors header: `format`, and the provenance that [`convert`](crate::convert) writes.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Tensors that were left out (no list or sum has them), and why. Only buffers and layers that the joint model does not have.
    pub fn dropped(&self) -> &[(String, &'static str)] {
        &self.dropped
    }

    /// Tensors that the file spells otherwise: (there, here).
    pub fn renamed(&self) -> &[(String, String)] {
        &self.renamed
    }

    /// BLAKE3 over the sorted names, types, shapes and bytes: the same for the same weights in any container and any shards.
    ///
    /// The first call reads every byte (and releases it); later ones are free.
    pub fn fingerprint(&self) -> [u8; 32] {
        *self.fingerprint.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"chinese-clip weights 1\0");
            for name in self.names() {
                let Some(tensor) = self.get(name) else { continue };
                for field in [name, tensor.dtype.name()] {
                    hasher.update(&(field.len() as u64).to_le_bytes());
                    hasher.update(field.as_bytes());
                }
                hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
                for &size in tensor.shape {
                    hasher.update(&(size as u64).to_le_bytes());
                }
                hasher.update_rayon(&tensor.bytes);
                self.release(name);
            }
            *hasher.finalize().as_bytes()
        })
    }

    /// [`fingerprint`](Self::fingerprint) in hexadecimal digits.
    pub fn fingerprint_hex(&self) -> String {
        blake3::Hash::from_bytes(self.fingerprint()).to_hex().to_string()
    }
}

impl<'a> Tensor<'a> {
    /// The slice of the file, if it holds `f32` as this machine has them and all are finite.
    fn finite_f32(&self) -> Option<&'a [f32]> {
        let Cow::Borrowed(bytes) = self.bytes else { return None };
        if self.dtype != Dtype::F32 || cfg!(target_endian = "big") {
            return None;
        }
        let values: &[f32] = bytemuck::try_cast_slice(bytes).ok()?; // misaligned in a torch file
        values.par_chunks(PART).all(|part| first_not_finite(part).is_none()).then_some(values)
    }

    /// Gives the elements as `f32`, a few thousand at a time.
    pub(crate) fn for_each_f32_block(
        &self,
        name: &str,
        sink: impl FnMut(&[f32]) -> Result<(), Stop>,
    ) -> Result<(), CheckpointError> {
        if !self.dtype.is_float() {
            return Err(CheckpointError::NotFloat { tensor: name.into(), dtype: self.dtype });
        }
        for_each_f32_block(self.dtype, &self.bytes, sink).map_err(|stop| stop.named(name, Dtype::F32))
    }
}

/// Why reading in blocks stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    Value(NotFinite),
    Error(CheckpointError),
}

impl From<NotFinite> for Stop {
    fn from(value: NotFinite) -> Self {
        Self::Value(value)
    }
}

impl Stop {
    fn named(self, name: &str, dtype: Dtype) -> CheckpointError {
        match self {
            Self::Value(problem) => problem.named(name, dtype),
            Self::Error(error) => error,
        }
    }
}

impl NotFinite {
    /// The error, of a tensor that was to become `dtype`.
    pub(crate) fn named(self, name: &str, dtype: Dtype) -> CheckpointError {
        match self {
            Self::Source { index, value } => CheckpointError::NotFinite { tensor: name.into(), index, value },
            Self::Overflow { index, value } => CheckpointError::Overflow { tensor: name.into(), index, value, dtype },
        }
    }
}

/// Copies a strided tensor into a row. `bytes` starts at its first element and holds all of them.
pub(crate) fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count * size);
    if count == 0 {
        return out;
    }
    let (Some((&row, outer)), Some(&step)) = (shape.split_last(), strides.last()) else {
        out.extend_from_slice(&bytes[..size]);
        return out;
    };
    let mut index = vec![0; outer.len()];
    let mut start = 0;
    loop {
        if step == 1 {
            out.extend_from_slice(&bytes[start * size..(start + row) * size]);
        } else {
            for i in 0..row {
                out.extend_from_slice(&bytes[(start + i * step) * size..][..size]);
            }
        }
        // The next row: count up like an odometer.
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return out;
            }
            axis -= 1;
            index[axis] += 1;
            start += strides[axis];
            if index[axis] < outer[axis] {
                break;
            }
            start -= index[axis] * strides[axis];
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_tensors_are_gathered() {
        let bytes: Vec<u8> = (0..24).collect();
        assert_eq!(gather(&bytes, 1, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(&bytes, 2, &[2, 2], &[4, 1]), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(gather(&bytes, 1, &[2, 2, 2], &[12, 1, 6]), [0, 6, 1, 7, 12, 18, 13, 19]);
        assert_eq!(gather(&bytes, 1, &[2, 3], &[1, 0]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(gather(&bytes, 4, &[], &[]), [0, 1, 2, 3]);
        assert!(gather(&bytes, 4, &[0, 5], &[5, 1]).is_empty());
    }

    #[test]
    fn parts_of_views() {
        let bytes: Vec<u8> = (0..24).collect();
        let read = |view: &View| {
            let bytes = &bytes[view.span.clone()];
            view.strides.as_ref().map_or(bytes.to_vec(), |strides| gather(bytes, 1, &view.shape, strides))
        };
        let whole = View { dtype: Dtype::U8, shape: vec![6, 2], span: 4..16, strides: None };
        let [first, second, third] = whole.shares().unwrap();
        assert_eq!([&first, &second, &third].map(read), [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]);
        let turned = second.transposed().unwrap();
        assert_eq!((turned.shape.as_slice(), read(&turned)), ([2, 2].as_slice(), vec![8, 10, 9, 11]));
        assert_eq!(read(&turned.transposed().unwrap()), read(&second));
        let turned = whole.transposed().unwrap();
        assert_eq!(read(&turned.rows(1..2)), [5, 7, 9, 11, 13, 15]);
        assert_eq!(read(&turned.rows(0..0)), [0; 0]);
        assert!(turned.shares::<3>().is_none(), "2 rows");
        let scalar = View { dtype: Dtype::U8, shape: vec![], span: 4..5, strides: None };
        assert!(scalar.shares::<3>().is_none() && scalar.transposed().is_none());
    }
}
