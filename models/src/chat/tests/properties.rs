//! What holds for any answer.
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_tokens_give_the_same_parts_however_they_are_cut(words in "[a-z{}:\"<|>, é\\\\]{0,40}", mark in 0..GEMMA_MARKS.len()) {
        let pieces = [Piece::Text(words.clone()), Piece::Mark(GEMMA_MARKS[mark].into()), Piece::Text(words)];
        cut_anyhow(&gemma(), &pieces, AnswerEnd::ByModel);
        cut_anyhow(&chatml(true), &pieces, AnswerEnd::CutOff);
    }
}
