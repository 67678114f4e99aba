//! Gemma 4: turns, channels of thought, calls and results inside the model's own turn.
mod parse;
mod render;

pub(super) use parse::Gemma4Reader;
pub(super) use render::render;
