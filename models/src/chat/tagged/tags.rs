//! The tags of a model's answers, as far as its template tells.

/// How a call begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct CallTag {
    pub(in crate::chat) open: &'static str,
    /// `None`: the call goes on to the end of the turn.
    pub(in crate::chat) close: Option<&'static str>,
}

/// Calls as ChatML's models write them.
pub(in crate::chat) const CALL: CallTag = CallTag { open: "<tool_call>", close: Some("</tool_call>") };
/// Calls of all known families.
const CALLS: [CallTag; 4] = [
    CALL,
    CallTag { open: "<|tool_call|>", close: None },
    CallTag { open: "[TOOL_CALLS]", close: None },
    CallTag { open: "<|python_tag|>", close: None },
];
/// Thoughts of all known families.
const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];
/// What ChatML's templates write around results, too.
pub(in crate::chat) const RESPONSE: (&str, &str) = ("<tool_response>", "</tool_response>");

/// Whether a user-defined token with this text acts as a part of a format, though it does not look like a control token.
pub(in crate::chat) fn is_tag(text: &str) -> bool {
    let calls = CALLS.iter().flat_map(|call| [Some(call.open), call.close]).flatten();
    let thoughts = THOUGHTS.iter().flat_map(|(open, close)| [*open, *close]);
    calls.chain(thoughts).chain([RESPONSE.0, RESPONSE.1]).any(|tag| tag == text)
}

/// The tags that a model uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chat) struct Tags {
    pub(in crate::chat) calls: Vec<CallTag>,
    pub(in crate::chat) thought: Option<(&'static str, &'static str)>,
    /// Those that are tokens of their own: as text they are only words.
    pub(in crate::chat) marks: Vec<&'static str>,
}

impl Tags {
    /// The tags that a template names. `marks` are the texts of the vocabulary's special tokens.
    pub(in crate::chat) fn of(template: &str, marks: &[String]) -> Self {
        let calls: Vec<_> = CALLS.into_iter().filter(|call| template.contains(call.open)).collect();
        let thought = THOUGHTS.into_iter().find(|(open, _)| template.contains(open));
        let mut tags = Self { calls, thought, marks: Vec::new() };
        tags.marks = tags.all().into_iter().filter(|tag| marks.iter().any(|mark| mark == tag)).collect();
        tags
    }

    /// Adds ChatML's own call, which its renderer teaches a model whose template knows none.
    pub(in crate::chat) fn with_call(mut self, marks: &[String]) -> Self {
        if !self.calls.contains(&CALL) {
            self.calls.push(CALL);
            let tags = [Some(CALL.open), CALL.close].into_iter().flatten();
            self.marks.extend(tags.filter(|tag| marks.iter().any(|mark| mark == tag)));
        }
        self
    }

    /// Without calls, for a conversation that knows no tools.
    pub(in crate::chat) fn without_calls(mut self) -> Self {
        self.calls.clear();
        self
    }

    fn all(&self) -> Vec<&'static str> {
        let calls = self.calls.iter().flat_map(|call| [Some(call.open), call.close]).flatten();
        calls.chain(self.thought.into_iter().flat_map(|(open, close)| [open, close])).collect()
    }

    /// Those that have to be looked for in text.
    pub(in crate::chat) fn in_text(&self, tag: &'static str) -> Option<&'static str> {
        (!self.marks.contains(&tag)).then_some(tag)
    }
}
