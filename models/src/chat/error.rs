//! Why a conversation cannot be put before a model.

/// What is wrong with a template or a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// A model of no known family without a template.
    #[error("the model file has no chat template: nothing tells how to converse with it")]
    NoTemplate,
    /// An embedding model.
    #[error("this model computes vectors and answers nobody; name another one")]
    Mute,
    /// A template longer than any that is known.
    #[error("the model's chat template has {bytes} bytes, {bytes_max} are read")]
    TemplateTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A template that is none.
    #[error("the model's chat template cannot be read: {0}")]
    TemplateSyntax(String),
    /// A template that fails, or refuses, a conversation.
    #[error("the model's chat template does not take this conversation: {0}")]
    TemplateFails(String),
    /// A template that does not come to an end.
    #[error("the model's chat template takes more than {steps_max} steps")]
    TemplateTooSlow {
        /// The limit.
        steps_max: u64,
    },
    /// A template that writes without end.
    #[error("the model's chat template writes more than {bytes_max} bytes around the texts")]
    PromptTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// A template that reads what it shall only pass on.
    #[error("the model's chat template takes texts apart, which it may not: they are not its own")]
    TextTakenApart,
    /// A template that leaves out what was said last.
    #[error("the model's chat template leaves out what was said last")]
    TextLost,
    /// A tool whose arguments are not described by a JSON object.
    #[error("the parameters of the tool `{tool}` are no JSON schema: {detail}")]
    Parameters {
        /// The tool's name.
        tool: String,
        /// What is wrong.
        detail: String,
    },
}
