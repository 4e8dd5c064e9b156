//! A pickle machine that can build tables of tensors, and nothing else.
//!
//! A pickle is a program for a stack machine (CPython, `Lib/pickletools.py`). This one knows the opcodes of protocols 0 to 5
//! that pickles of checkpoints consist of. Where Python would import and call, it looks the name up in the list of
//! [`globals`](super::globals) and gives the call its fixed meaning, or stops. Values are small and copied; containers lie in
//! an arena, so neither nesting nor shared references cost anything to read, walk or free. The number of opcodes is limited,
//! and with it everything else: none of them makes more than one value.

use std::collections::HashMap;

use super::globals::{Global, permitted};
use super::reader::Reader;
use super::{Fault, FaultKind};
use crate::Dtype;

/// Dimensions that a tensor may have.
const MAX_RANK: usize = 8;

/// A value of the pickle. Containers are indices into [`Object`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Str(&'a str),
    Bytes,
    /// A tuple or a list.
    Sequence(usize),
    Dict(usize),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(usize),
}

impl Value<'_> {
    /// For messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) => "an integer",
            Self::Float => "a float",
            Self::Str(_) => "a string",
            Self::Bytes => "bytes",
            Self::Sequence(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a bare storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// What a persistent id names: an entry `data/KEY` of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// Elements that the pickle claims.
    pub(super) count: i64,
}

/// A tensor as the pickle describes it; nothing of it is checked yet but the number of dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorClaim<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// What a pickle describes.
pub(super) struct Object<'a> {
    pub(super) root: Value<'a>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) tensors: Vec<TensorClaim<'a>>,
}

/// Reads a pickle to its STOP.
pub(super) fn run(bytes: &[u8], limit: usize) -> Result<Object<'_>, Fault> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        sequences: Vec::new(),
        dicts: Vec::new(),
        tensors: Vec::new(),
        left: limit,
        limit,
    };
    loop {
        let start = machine.reader.position();
        let opcode = machine.reader.u8()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Object { root, dicts: machine.dicts, tensors: machine.tensors });
        }
        machine.spend()?;
        machine.step(opcode).map_err(|fault| Fault { offset: start, ..fault })?;
    }
}

struct Machine<'a> {
    reader: Reader<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    sequences: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    tensors: Vec<TensorClaim<'a>>,
    left: usize,
    limit: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            // Framing
            0x80 => {
                let protocol = self.reader.u8()?;
                if protocol > 5 {
                    return Err(self.reader.fault(format!("protocol {protocol} is unknown")));
                }
            }
            0x95 => drop(self.reader.array::<8>()?),
            // The stack
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.push(self.top()?),
            // The memo
            b'p' => self.memorise_at_line()?,
            b'q' => {
                let key = self.reader.u8()?;
                self.memorise(u32::from(key))?;
            }
            b'r' => {
                let key = self.reader.u32()?;
                self.memorise(key)?;
            }
            0x94 => self.memorise(self.memo.len() as u32)?,
            b'g' => {
                let key = self.reader.number()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.reader.u8()?;
                self.recall(u32::from(key))?;
            }
            b'j' => {
                let key = self.reader.u32()?;
                self.recall(key)?;
            }
            // Containers
            b')' | b']' => self.push_sequence(Vec::new()),
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84))?;
                self.push_sequence(items);
            }
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.push_sequence(items);
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.extend_list(items)?;
            }
            b'}' => self.push_dict(Vec::new()),
            b'd' => {
                let pairs = self.pop_pairs()?;
                self.push_dict(pairs);
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.extend_dict(vec![(items[0], items[1])])?;
            }
            b'u' => {
                let pairs = self.pop_pairs()?;
                self.extend_dict(pairs)?;
            }
            // Calls
            b'c' => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.push_global(module, name)?;
            }
            0x93 => match self.pop_many(2)?[..] {
                [Value::Str(module), Value::Str(name)] => self.push_global(module, name)?,
                _ => return Err(self.reader.fault("a global is not named by two strings")),
            },
            b'R' | 0x81 => {
                let items = self.pop_many(2)?;
                self.call(items[0], items[1])?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push_storage(id)?;
            }
            // INST and OBJ call a class in the manner of Python 2. Their global is checked so that the message names it.
            b'i' => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.global(module, name)?;
                return Err(self.unknown(opcode));
            }
            _ => self.atom(opcode)?,
        }
        Ok(())
    }

    /// Opcodes that push a value without parts.
    fn atom(&mut self, opcode: u8) -> Result<(), Fault> {
        let reader = &mut self.reader;
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' => match reader.line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => Value::Int(digits.parse().map_err(|_| reader.fault("an integer is not one"))?),
            },
            b'J' => Value::Int(i64::from(i32::from_le_bytes(reader.array()?))),
            b'K' => Value::Int(i64::from(reader.u8()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(reader.array()?))),
            b'L' => Value::Int(reader.number()?),
            0x8a => {
                let length = reader.length::<1>()?;
                Value::Int(reader.long(length)?)
            }
            0x8b => {
                let length = reader.length::<4>()?;
                Value::Int(reader.long(length)?)
            }
            b'F' => {
                let _float: f64 = reader.number()?;
                Value::Float
            }
            b'G' => {
                reader.array::<8>()?;
                Value::Float
            }
            b'S' => Value::Str(reader.quoted()?),
            b'X' | b'T' => Value::Str(reader.string::<4>()?),
            0x8c | b'U' => Value::Str(reader.string::<1>()?),
            0x8d => Value::Str(reader.string::<8>()?),
            b'C' => {
                let length = reader.length::<1>()?;
                reader.take(length)?;
                Value::Bytes
            }
            b'B' => {
                let length = reader.length::<4>()?;
                reader.take(length)?;
                Value::Bytes
            }
            0x8e | 0x96 => {
                let length = reader.length::<8>()?;
                reader.take(length)?;
                Value::Bytes
            }
            _ => return Err(self.unknown(opcode)),
        };
        self.push(value);
        Ok(())
    }

    fn unknown(&self, opcode: u8) -> Fault {
        self.reader.fault(format!("opcode 0x{opcode:02x}, which no checkpoint needs"))
    }

    fn spend(&mut self) -> Result<(), Fault> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault { offset: self.reader.position(), kind: FaultKind::Nodes(self.limit) }),
        }
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(value);
    }

    /// Values above the last mark; those below belong to what encloses it.
    fn above_mark(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Value<'a>, Fault> {
        match self.stack.last() {
            Some(&value) if self.above_mark() > 0 => Ok(value),
            _ => Err(self.reader.fault("the stack is empty")),
        }
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value<'a>>, Fault> {
        if self.above_mark() < count {
            return Err(self.reader.fault("the stack is empty"));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.reader.fault("no mark on the stack")),
        }
    }

    fn pop_pairs(&mut self) -> Result<Vec<(Value<'a>, Value<'a>)>, Fault> {
        let items = self.pop_mark()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.reader.fault("a dictionary gets a key without a value"));
        };
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn memorise_at_line(&mut self) -> Result<(), Fault> {
        let key = self.reader.number()?;
        self.memorise(key)
    }

    fn memorise(&mut self, key: u32) -> Result<(), Fault> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        let value = self.memo.get(&key).copied();
        self.push(value.ok_or_else(|| self.reader.fault(format!("nothing is memorised as {key}")))?);
        Ok(())
    }

    fn push_sequence(&mut self, items: Vec<Value<'a>>) {
        self.sequences.push(items);
        self.push(Value::Sequence(self.sequences.len() - 1));
    }

    fn push_dict(&mut self, pairs: Vec<(Value<'a>, Value<'a>)>) {
        self.dicts.push(pairs);
        self.push(Value::Dict(self.dicts.len() - 1));
    }

    fn extend_list(&mut self, items: Vec<Value<'a>>) -> Result<(), Fault> {
        match self.top()? {
            Value::Sequence(index) => self.sequences[index].extend(items),
            other => return Err(self.reader.fault(format!("an item is appended to {}", other.kind()))),
        }
        Ok(())
    }

    fn extend_dict(&mut self, pairs: Vec<(Value<'a>, Value<'a>)>) -> Result<(), Fault> {
        match self.top()? {
            Value::Dict(index) => self.dicts[index].extend(pairs),
            other => return Err(self.reader.fault(format!("a key is set in {}", other.kind()))),
        }
        Ok(())
    }

    fn global(&self, module: &str, name: &str) -> Result<Global, Fault> {
        // A name of endless length would only fill the message.
        let full: String = format!("{module}.{name}").chars().take(200).collect();
        permitted(&full).ok_or(Fault { offset: self.reader.position(), kind: FaultKind::Global(full) })
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = self.global(module, name)?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// REDUCE and NEWOBJ: what a call of a permitted global gives.
    fn call(&mut self, callable: Value<'a>, arguments: Value<'a>) -> Result<(), Fault> {
        let Value::Sequence(arguments) = arguments else {
            return Err(self.reader.fault("a call without a tuple of arguments"));
        };
        let arguments = &self.sequences[arguments];
        match (callable, &arguments[..]) {
            (Value::Global(Global::OrderedDict), []) => self.push_dict(Vec::new()),
            (Value::Global(Global::Size), &[sizes @ Value::Sequence(_)]) => self.push(sizes),
            (Value::Global(Global::RebuildParameter), &[tensor @ Value::Tensor(_), ..]) => self.push(tensor),
            (
                Value::Global(Global::RebuildTensor),
                &[Value::Storage(storage), Value::Int(offset), Value::Sequence(shape), Value::Sequence(strides), ..],
            ) => {
                let (shape, strides) = (self.integers(shape)?, self.integers(strides)?);
                self.tensors.push(TensorClaim { storage, offset, shape, strides });
                self.push(Value::Tensor(self.tensors.len() - 1));
            }
            (Value::Global(global), _) => {
                return Err(self.reader.fault(format!("{global:?} with arguments that do not fit it")));
            }
            (other, _) => return Err(self.reader.fault(format!("a call of {}", other.kind()))),
        }
        Ok(())
    }

    fn integers(&self, sequence: usize) -> Result<Vec<i64>, Fault> {
        let items = &self.sequences[sequence];
        if items.len() > MAX_RANK {
            return Err(self.reader.fault(format!("a tensor of {} dimensions", items.len())));
        }
        let integer = |item: &Value| if let Value::Int(n) = item { Some(*n) } else { None };
        items.iter().map(integer).collect::<Option<_>>().ok_or_else(|| self.reader.fault("a size that is no integer"))
    }

    /// BUILD sets attributes of an object. State dicts have one, `_metadata` (versions of modules), which nobody needs.
    fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        match (self.top()?, state) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            (object, _) => Err(self.reader.fault(format!("attributes are set on {}", object.kind()))),
        }
    }

    /// `("storage", TYPE, KEY, LOCATION, COUNT)`, as `torch.save` writes its persistent ids.
    fn push_storage(&mut self, id: Value<'a>) -> Result<(), Fault> {
        let parts = if let Value::Sequence(index) = id { &self.sequences[index][..] } else { &[] };
        match *parts {
            [
                Value::Str("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                Value::Str(_),
                Value::Int(count),
            ] => self.push(Value::Storage(Storage { key, dtype, count })),
            _ => return Err(self.reader.fault("a persistent id that is not torch's")),
        }
        Ok(())
    }
}
