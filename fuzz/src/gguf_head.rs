//! The head of a model file: read or refused, with no more memory and no more reading than the file is worth.
use std::io::{self, Read};

use archond_models::gguf::{self, Head, Value};

/// Most memory that a head may keep, in bytes. Gemma 4's own keeps about 100 KB.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Counts what is asked for.
struct Source<'b> {
    bytes: &'b [u8],
    read: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(into)?;
        self.read += count as u64;
        Ok(count)
    }
}

/// The input is the file.
pub fn gguf_head(input: &[u8]) {
    let mut source = Source { bytes: input, read: 0 };
    match gguf::read(&mut source) {
        Ok(head) => {
            assert!((2..=3).contains(&head.version));
            assert!(head.file_bytes >= source.read, "the file is shorter than its own head");
            assert!(head.tensors.len() as u64 * 24 <= source.read, "tensors that nobody wrote");
            assert!(kept_bytes(&head) <= KEPT_BYTES_MAX, "a head of {} bytes", kept_bytes(&head));
            let _total = head.parameters();
            for key in head.metadata.keys() {
                let _found = (head.text(key), head.number(key), head.number_of_layer(key, 3));
            }
            // What is in the file behind the head changes nothing.
            let alone = &input[..usize::try_from(source.read).expect("read from memory")];
            assert!(gguf::read(alone).is_ok_and(|again| same(&again, &head)));
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1024, "a message of {} bytes", message.len());
        }
    }
}

/// As `==`, but a number that is none is the same as itself.
fn same(one: &Head, other: &Head) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

fn kept_bytes(head: &Head) -> usize {
    let entries = head.metadata.iter().map(|(key, value)| key.len() + value_bytes(value));
    let tensors = head.tensors.iter().map(|tensor| size_of_val(tensor) + tensor.name.len());
    entries.sum::<usize>() + tensors.sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    let beyond = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.iter().map(value_bytes).sum(),
        _ => 0,
    };
    size_of::<Value>() + beyond
}
