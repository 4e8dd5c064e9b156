//! Writes the file that `torch.save` makes of a training checkpoint: a zip archive of stored entries with a pickle of protocol
//! 2. It names no global that the reader does not permit, so `torch.load(…, weights_only=True)` takes it, too.

use std::io::{self, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::table::STATE_DICT;
use crate::Dtype;

/// The folder of all entries.
const FOLDER: &str = "archive";
/// Storages begin at multiples of this, as torch's own do.
const ALIGNMENT: u16 = 64;

/// One tensor of the table.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
}

/// A file whose tensors are written one after the other, in the order of the table.
pub(crate) struct Writer<W: Write + Seek> {
    zip: ZipWriter<W>,
    next: usize,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes everything but the tensors. `name` is what a training run would be called.
    pub(crate) fn new<'a>(file: W, name: &str, table: impl Iterator<Item = &'a Entry>) -> io::Result<Self> {
        let mut writer = Self { zip: ZipWriter::new(file), next: 0 };
        writer.entry("data.pkl", 0)?.write_all(&pickle(name, table))?;
        writer.entry("byteorder", 0)?.write_all(b"little")?;
        writer.entry("version", 0)?.write_all(b"3\n")?;
        Ok(writer)
    }

    /// Begins the next tensor, which has so many bytes.
    pub(crate) fn tensor(&mut self, bytes: usize) -> io::Result<&mut impl Write> {
        let name = format!("data/{}", self.next);
        self.next += 1;
        self.entry(&name, bytes)
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> io::Result<W> {
        Ok(self.zip.finish()?)
    }

    fn entry(&mut self, name: &str, bytes: usize) -> io::Result<&mut ZipWriter<W>> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(ALIGNMENT)
            .large_file(bytes > u32::MAX as usize);
        self.zip.start_file(format!("{FOLDER}/{name}"), options)?;
        Ok(&mut self.zip)
    }
}

/// `{"epoch": 0, "step": 0, "name": …, "state_dict": OrderedDict(…)}`, as `cn_clip`'s training lays it out.
fn pickle<'a>(name: &str, table: impl Iterator<Item = &'a Entry>) -> Vec<u8> {
    let mut pickle = Pickle(vec![0x80, 2]);
    pickle.raw(b"}(").string("epoch").int(0).string("step").int(0).string("name").string(name);
    pickle.string(STATE_DICT).global("collections", "OrderedDict").raw(b")R(");
    for (key, entry) in table.enumerate() {
        let storage = match entry.dtype {
            Dtype::F64 => "DoubleStorage",
            Dtype::F32 => "FloatStorage",
            Dtype::F16 => "HalfStorage",
            Dtype::BF16 => "BFloat16Storage",
            Dtype::I64 => "LongStorage",
            Dtype::I32 => "IntStorage",
            Dtype::I16 => "ShortStorage",
            Dtype::I8 => "CharStorage",
            Dtype::U8 => "ByteStorage",
            Dtype::Bool => "BoolStorage",
        };
        let mut strides = vec![1; entry.shape.len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis] * entry.shape[axis];
        }
        let count = entry.shape.iter().product();
        pickle.string(&entry.name).global("torch._utils", "_rebuild_tensor_v2").raw(b"((").string("storage");
        pickle.global("torch", storage).string(&key.to_string()).string("cpu").int(count).raw(b"tQ").int(0);
        pickle.tuple(&entry.shape).tuple(&strides).raw(b"\x89").global("collections", "OrderedDict").raw(b")RtR");
    }
    pickle.raw(b"uu.");
    pickle.0
}

/// Opcodes, appended.
struct Pickle(Vec<u8>);

impl Pickle {
    fn raw(&mut self, opcodes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(opcodes);
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(&mut self, value: usize) -> &mut Self {
        match i32::try_from(value) {
            Ok(value) => self.raw(b"J").raw(&value.to_le_bytes()),
            Err(_) => self.raw(&[0x8a, 8]).raw(&(value as i64).to_le_bytes()),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    fn tuple(&mut self, items: &[usize]) -> &mut Self {
        self.raw(b"(");
        for &item in items {
            self.int(item);
        }
        self.raw(b"t")
    }
}
