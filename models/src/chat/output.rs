//! From the model's tokens to the text that is shown: hidden parts left out, characters made whole.

/// What one token means to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'t> {
    /// Text, or a part of a character.
    Bytes(&'t [u8]),
    /// Begins a part that is not for the reader.
    Opens,
    /// Ends such a part.
    Closes,
    /// A mark without meaning for the reader.
    Nothing,
}

/// Turns tokens into text, one at a time.
#[derive(Debug, Clone, Default)]
pub struct OutputFilter {
    hidden: bool,
    /// The beginning of a character whose rest has not come yet: at most three bytes.
    pending: Vec<u8>,
}

impl OutputFilter {
    /// Takes the next token; returns what may be shown now: complete characters only.
    pub fn push(&mut self, shown: Shown<'_>) -> String {
        match shown {
            Shown::Opens => self.hidden = true,
            Shown::Closes => self.hidden = false,
            Shown::Nothing => {}
            Shown::Bytes(bytes) if !self.hidden => return self.complete(bytes),
            Shown::Bytes(_) => {}
        }
        self.pending.clear(); // a mark cannot stand within a character
        String::new()
    }

    fn complete(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(broken) = error.error_len() else {
                        self.pending = rest.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending = rest.get(broken..).unwrap_or_default().to_vec();
                }
            }
        }
    }
}
