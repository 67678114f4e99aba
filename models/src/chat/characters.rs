//! Bytes of tokens to complete characters.

/// Puts characters together that tokens cut apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Characters {
    /// The beginning of a character whose rest has not come yet: at most three bytes.
    pending: Vec<u8>,
}

impl Characters {
    /// Forgets a character whose rest never comes: a mark cannot stand within one.
    pub(super) fn interrupt(&mut self) {
        self.pending.clear();
    }

    /// Takes bytes; returns the characters that are complete.
    pub(super) fn complete(&mut self, bytes: &[u8]) -> String {
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
