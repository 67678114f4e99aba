//! The encoding thread's work: from a file's bytes to rows.
use llama_cpp_2::mtmd::{
    MtmdBitmap, MtmdInputChunkType, MtmdInputChunks, MtmdInputText, mtmd_default_marker,
};

use super::decoding::{pixels, samples};
use super::{Kind, Medium, Numbers, Projector, Row, raw};

/// Measures and encodes media, one at a time.
pub(super) struct Encoder {
    projector: Projector,
    width: usize,
    /// Most rows of one batch.
    rows_max: usize,
}

impl Encoder {
    pub(super) fn new(projector: Projector, width: usize, rows_max: usize) -> Self {
        Self { projector, width, rows_max }
    }

    /// The marks and place holders that stand for a medium in a prompt.
    pub(super) fn measure(&self, medium: &Medium) -> Result<Row, String> {
        let (chunks, mut row, mut rows) = (self.prepare(medium)?, Vec::new(), 0);
        for index in 0..chunks.len() {
            let Some(chunk) = chunks.get(index) else { continue };
            if chunk.chunk_type() == MtmdInputChunkType::Text {
                row.extend(chunk.text_tokens().unwrap_or_default());
                continue;
            }
            let count = chunk.n_tokens();
            let in_line = usize::try_from(chunk.n_positions()) == Ok(count);
            let in_one =
                medium.kind == Kind::Audio || self.projector.pictures_are_causal() || count <= self.rows_max;
            if count == 0 || !in_line || !in_one {
                return Err(format!("the projector makes {count} rows of it, which cannot be read"));
            }
            row.extend((rows..rows + count).map(|row| medium.digest.place_holder(row)));
            rows += count;
        }
        if rows == 0 {
            return Err("the projector makes nothing of it".to_owned());
        }
        Ok(row.into())
    }

    /// The rows themselves, in the order of their place holders.
    pub(super) fn encode(&mut self, medium: &Medium) -> Result<Numbers, String> {
        let (chunks, mut numbers) = (self.prepare(medium)?, Vec::new());
        for index in 0..chunks.len() {
            let Some(chunk) = chunks.get(index) else { continue };
            if chunk.chunk_type() == MtmdInputChunkType::Text {
                continue;
            }
            let failed = |detail: &str| format!("llama.cpp cannot encode it: {detail}");
            let count = chunk.n_tokens().saturating_mul(self.width);
            self.projector.mtmd.encode_chunk(&chunk).map_err(|error| failed(&error.to_string()))?;
            let rows = raw::encoded(&mut self.projector.mtmd, count).ok_or_else(|| failed("no rows came"))?;
            if rows.iter().any(|number| !number.is_finite()) {
                return Err(failed("the rows hold no numbers"));
            }
            numbers.extend(rows);
        }
        Ok(numbers.into())
    }

    /// Decodes a medium and cuts it as the projector wants it.
    fn prepare(&self, medium: &Medium) -> Result<MtmdInputChunks, String> {
        let mtmd = &self.projector.mtmd;
        let bitmap = match medium.kind {
            Kind::Image if !mtmd.support_vision() => return Err("this model sees no pictures".to_owned()),
            Kind::Image => {
                let picture = pixels(&medium.bytes)?;
                MtmdBitmap::from_image_data(picture.width, picture.height, &picture.rgb)
            }
            Kind::Audio => {
                let rate = mtmd.get_audio_sample_rate().filter(|_| mtmd.support_audio());
                let rate = rate.ok_or("this model hears no recordings")?;
                MtmdBitmap::from_audio_data(&samples(&medium.bytes, rate)?)
            }
        };
        let bitmap = bitmap.map_err(|error| error.to_string())?;
        // The marks around it come from the projector's kind; nothing of a stranger is in this text.
        let text =
            MtmdInputText { text: mtmd_default_marker().to_owned(), add_special: false, parse_special: true };
        mtmd.tokenize(text, &[&bitmap]).map_err(|error| format!("the projector cannot take it: {error}"))
    }
}
