//! Reads the head of a GGUF file: what it says about itself, and how long the file must be for all its tensors to be there.
//!
//! A file that fails here would abort a model worker; here it is an error that names the fault. Every count and length of the
//! file is treated as hostile: all are bounded before anything is allocated.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

mod layout;
mod source;

use layout::{scalar_bytes, tensor_bytes};
use source::Source;

/// Most metadata entries; real files have 20 to 60.
const ENTRIES_MAX: u64 = 65_536;
/// Most tensors; the largest shipped model has about 1,000.
const TENSORS_MAX: u64 = 65_536;
/// Longest key or tensor name, in bytes: llama.cpp's own limit for names is 64, for keys the format's is 65,535.
const NAME_BYTES_MAX: u64 = 65_535;
/// Longest text value, in bytes; chat templates have up to 100 KB.
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most elements of one array; Gemma's merges are 514,906.
const ELEMENTS_MAX: u64 = 16 * 1024 * 1024;
/// Arrays up to this length are kept (per-layer numbers); longer ones are vocabularies and are skipped.
const ELEMENTS_KEPT_MAX: u64 = 1_024;
/// Most dimensions of a tensor; ggml has 4.
const DIMENSIONS_MAX: u32 = 4;
/// Longest head, in bytes; Gemma's is about 16 MB. Bounds the time that a hostile file can take.
const HEAD_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Where the tensors' data is aligned when the file does not say.
const ALIGNMENT_DEFAULT: u64 = 32;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It begins with something else.
    #[error("is not a GGUF file: it begins with {found:?}")]
    Magic {
        /// The first four bytes, printable.
        found: String,
    },
    /// It is of a version, or byte order, that llama.cpp does not read.
    #[error("is GGUF version {0}; versions 2 and 3, little-endian, can be read")]
    Version(u32),
    /// It ends inside its own head.
    #[error("is cut off inside its head, at byte {at}; fetch or copy it again")]
    HeadCut {
        /// Where.
        at: u64,
    },
    /// The tensors that it lists do not fit into it.
    #[error("is cut off: it has {found} bytes and its tensors need {needed}; fetch or copy it again")]
    TensorsCut {
        /// The file's length.
        found: u64,
        /// The least length.
        needed: u64,
    },
    /// A number in it cannot be true.
    #[error("is damaged: {what} is {value}, more than {limit}")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// What the file says.
        value: u64,
        /// What is believed.
        limit: u64,
    },
    /// Its structure makes no sense.
    #[error("is damaged: {0}")]
    Damaged(String),
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any unsigned or signed integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A number with a fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Text; bytes that are not UTF-8 are replaced.
    Text(String),
    /// A short array of numbers or yes/no.
    List(Vec<Value>),
    /// An array that was skipped, with its length.
    Skipped(u64),
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// ggml's number of its storage type.
    pub kind: u32,
    /// Its elements.
    pub elements: u64,
    /// Where its data begins, from the start of the data.
    pub offset: u64,
}

/// The head of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The format's version.
    pub version: u32,
    /// The metadata, by key.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor>,
    /// The least length of the file, in bytes.
    pub file_bytes: u64,
}

impl Head {
    /// A text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number of the metadata.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number of the metadata that may be one for all layers or one for each.
    pub fn number_of_layer(&self, key: &str, layer: usize) -> Option<u64> {
        match self.metadata.get(key)? {
            Value::Unsigned(number) => Some(*number),
            Value::List(list) => match list.get(layer)? {
                Value::Unsigned(number) => Some(*number),
                Value::Bool(yes) => Some(u64::from(*yes)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.elements))
    }
}

/// Reads a file's head and checks that the file is as long as its tensors need.
pub fn check(path: &Path) -> Result<Head, GgufError> {
    let file = File::open(path).map_err(GgufError::Read)?;
    let found = file.metadata().map_err(GgufError::Read)?.len();
    let head = read(BufReader::with_capacity(256 * 1024, file))?;
    if found < head.file_bytes {
        return Err(GgufError::TensorsCut { found, needed: head.file_bytes });
    }
    Ok(head)
}

/// Reads a head.
pub fn read(reader: impl Read) -> Result<Head, GgufError> {
    let mut source = Source::new(reader, HEAD_BYTES_MAX);
    let magic = source.array::<4>().map_err(|error| match error {
        GgufError::HeadCut { .. } => GgufError::Magic { found: String::new() },
        other => other,
    })?;
    if &magic != b"GGUF" {
        return Err(GgufError::Magic { found: String::from_utf8_lossy(&magic).into_owned() });
    }
    let version = source.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensor_count = bounded("the number of tensors", source.u64()?, TENSORS_MAX)?;
    let entry_count = bounded("the number of metadata entries", source.u64()?, ENTRIES_MAX)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..entry_count {
        let key = source.text("a key's length", NAME_BYTES_MAX)?;
        let kind = source.u32()?;
        let value = read_value(&mut source, kind)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(GgufError::Damaged(format!("the key `{}` is there twice", short(&key))));
        }
    }
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push(read_tensor(&mut source)?);
    }
    let alignment = match metadata.get("general.alignment") {
        None => ALIGNMENT_DEFAULT,
        Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n,
        Some(other) => return Err(GgufError::Damaged(format!("general.alignment is {other:?}"))),
    };
    let file_bytes = file_bytes(source.at(), alignment, &tensors)?;
    Ok(Head { version, metadata, tensors, file_bytes })
}

fn read_value(source: &mut Source<impl Read>, kind: u32) -> Result<Value, GgufError> {
    Ok(match kind {
        0 => Value::Unsigned(u64::from(source.u8()?)),
        1 => signed(i64::from(i8::from_le_bytes(source.array()?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(source.array()?))),
        3 => signed(i64::from(i16::from_le_bytes(source.array()?))),
        4 => Value::Unsigned(u64::from(source.u32()?)),
        5 => signed(i64::from(i32::from_le_bytes(source.array()?))),
        6 => Value::Float(f64::from(f32::from_le_bytes(source.array()?))),
        7 => Value::Bool(source.u8()? != 0),
        8 => Value::Text(source.text("a text's length", TEXT_BYTES_MAX)?),
        9 => read_array(source)?,
        10 => Value::Unsigned(source.u64()?),
        11 => signed(i64::from_le_bytes(source.array()?)),
        12 => Value::Float(f64::from_le_bytes(source.array()?)),
        other => return Err(GgufError::Damaged(format!("a metadata value is of the unknown type {other}"))),
    })
}

fn read_array(source: &mut Source<impl Read>) -> Result<Value, GgufError> {
    let kind = source.u32()?;
    let count = bounded("an array's length", source.u64()?, ELEMENTS_MAX)?;
    match kind {
        8 => {
            for _ in 0..count {
                let bytes = bounded("a text's length", source.u64()?, TEXT_BYTES_MAX)?;
                source.skip(bytes)?;
            }
            Ok(Value::Skipped(count))
        }
        scalar if scalar_bytes(scalar).is_some() && count <= ELEMENTS_KEPT_MAX => {
            source.keep(size_of::<Value>() * count as usize)?;
            (0..count).map(|_| read_value(source, scalar)).collect::<Result<_, _>>().map(Value::List)
        }
        scalar => match scalar_bytes(scalar) {
            Some(bytes) => source.skip(count.saturating_mul(bytes)).map(|()| Value::Skipped(count)),
            None => Err(GgufError::Damaged(format!("an array's elements are of the unknown type {scalar}"))),
        },
    }
}

fn read_tensor(source: &mut Source<impl Read>) -> Result<Tensor, GgufError> {
    let name = source.text("a tensor name's length", NAME_BYTES_MAX)?;
    let dimensions = source.u32()?;
    bounded("a tensor's number of dimensions", u64::from(dimensions), u64::from(DIMENSIONS_MAX))?;
    let mut elements: u64 = 1;
    for _ in 0..dimensions {
        let extent = source.u64()?;
        elements =
            elements.checked_mul(extent).filter(|&n| n <= i64::MAX.unsigned_abs()).ok_or_else(|| {
                GgufError::Damaged(format!("the tensor `{}` is impossibly large", short(&name)))
            })?;
    }
    Ok(Tensor { name, kind: source.u32()?, elements, offset: source.u64()? })
}

/// The least length of a file whose head ends at `head`: the end of the tensor that ends last.
fn file_bytes(head: u64, alignment: u64, tensors: &[Tensor]) -> Result<u64, GgufError> {
    let start = head.next_multiple_of(alignment);
    let mut end = if tensors.is_empty() { head } else { start };
    for tensor in tensors {
        let impossible =
            || GgufError::Damaged(format!("the tensor `{}` lies outside any file", short(&tensor.name)));
        if tensor.offset % alignment != 0 {
            return Err(GgufError::Damaged(format!("the tensor `{}` is not aligned", short(&tensor.name))));
        }
        let bytes = tensor_bytes(tensor.kind, tensor.elements).ok_or_else(impossible)?;
        let tensor_end =
            start.checked_add(tensor.offset).and_then(|at| at.checked_add(bytes)).ok_or_else(impossible)?;
        end = end.max(tensor_end);
    }
    Ok(end)
}

fn signed(number: i64) -> Value {
    u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned)
}

fn bounded(what: &'static str, value: u64, limit: u64) -> Result<u64, GgufError> {
    if value <= limit { Ok(value) } else { Err(GgufError::TooLarge { what, value, limit }) }
}

/// A name as it is shown in an error: hostile files have long ones.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::small as small_for_tests;
