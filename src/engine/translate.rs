//! Each type of the pool's engine port as the workers know it, and back. Nothing is decided here.
use archond_actors::domain::{
    AnswerForm, AnswerPart, CallRule, ChatRole, ChatTurn, Chosen, Content, Conversation, Finding,
    FinishReason, GenerationId, GenerationRequest, Inquiry, MediaId, ModelId, Passage, Prompt, Refusal,
    Senses, Shape, Stretch, Token, TokenLogprob, Tool, ToolCall, Usage,
};
use archond_actors::ports::{EngineError, WorkerEvent};
use archond_models::worker;

/// What a model that does not see is told in a picture's place.
const UNSEEN: &str = "[a picture is here, and you cannot look at it: you do not see]\n";
/// The same of a recording.
const UNHEARD: &str = "[a recording is here, and you cannot listen to it: you do not hear]\n";

/// What a worker's model can do beside answering in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    /// It was taught to call tools.
    pub(super) calls_tools: bool,
    /// What it takes beside words.
    pub(super) senses: Senses,
}

/// An order of the pool, for a worker.
pub(super) fn request(request: &GenerationRequest, able: Abilities) -> worker::Request {
    let sampling = request.sampling;
    let calls_tools = able.calls_tools;
    let senses = if request.form.media_if_able { able.senses } else { Senses { sees: true, hears: true } };
    let mut prompt = prompt(&request.prompt, senses);
    if let (worker::Prompt::Chat(conversation), true) =
        (&mut prompt, request.form.tools_if_able && !calls_tools)
    {
        conversation.tools.clear();
    }
    worker::Request {
        id: request.id.0,
        prompt,
        form: form(&request.form),
        sampling: worker::SamplingParams {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            seed: sampling.seed,
        },
        resume: request.resume.iter().map(|token| token.0).collect(),
        answer_tokens_max: request.answer_tokens_max,
        context_tokens_max: request.context_tokens_max,
    }
}

/// What a worker said, for the pool.
pub(super) fn event(event: worker::Event, model: &ModelId) -> WorkerEvent {
    let id = GenerationId;
    match event {
        worker::Event::Loading { percent } => WorkerEvent::Loading { percent },
        worker::Event::Ready { slots, context_tokens } => WorkerEvent::Ready { slots, context_tokens },
        worker::Event::Prefill { id: request, done, total } => {
            WorkerEvent::Prefill { id: id(request), done, total }
        }
        worker::Event::Token { id: request, token, chosen } => {
            WorkerEvent::Token { id: id(request), token: Token(token), chosen: self::chosen(chosen) }
        }
        worker::Event::Found { id: request, finding } => {
            WorkerEvent::Found { id: id(request), finding: self::finding(finding) }
        }
        worker::Event::Finished { id: request, reason, usage } => WorkerEvent::Finished {
            id: id(request),
            reason: match reason {
                worker::Finish::EndOfTurn => FinishReason::EndOfTurn,
                worker::Finish::StopText => FinishReason::StopText,
                worker::Finish::Length => FinishReason::Length,
                worker::Finish::Cancelled => FinishReason::Cancelled,
            },
            usage: Usage {
                prompt_tokens: usage.prompt_tokens,
                media_tokens: usage.media_tokens,
                cached_tokens: usage.cached_tokens,
                restored_tokens: usage.restored_tokens,
                answer_tokens: usage.answer_tokens,
                drafted_tokens: usage.drafted_tokens,
                accepted_tokens: usage.accepted_tokens,
                prefill_ms: usage.prefill_ms,
                decode_ms: usage.decode_ms,
            },
        },
        worker::Event::Refused { id: request, refusal } => WorkerEvent::Refused {
            id: id(request),
            refusal: match refusal {
                worker::Refusal::PromptTooLong { tokens, tokens_max } => {
                    Refusal::PromptTooLong { tokens, tokens_max }
                }
                worker::Refusal::NoFreeSlot => Refusal::NoFreeSlot,
                worker::Refusal::Unable { detail } => Refusal::Unable { detail },
                worker::Refusal::Engine { detail } => Refusal::Engine { detail },
                worker::Refusal::Medium { sha256, detail } => {
                    Refusal::Medium { id: MediaId::new(sha256), detail }
                }
            },
        },
        worker::Event::Exited { detail, unusable } => WorkerEvent::Exited {
            error: if unusable {
                EngineError::Unusable { model: model.clone(), detail }
            } else {
                EngineError::Exited { model: model.clone(), detail }
            },
        },
    }
}

fn prompt(prompt: &Prompt, senses: Senses) -> worker::Prompt {
    match prompt {
        Prompt::Chat(conversation) => worker::Prompt::Chat(self::conversation(conversation, senses)),
        Prompt::Text(text) => worker::Prompt::Text(text.to_string()),
        Prompt::Passage(passage) => worker::Prompt::Passage(self::passage(passage)),
        Prompt::Inquiry(inquiry) => worker::Prompt::Inquiry(self::inquiry(inquiry)),
    }
}

fn passage(passage: &Passage) -> Vec<worker::Stretch> {
    let stretch = |stretch: &Stretch| match stretch {
        Stretch::Text(text) => worker::Stretch::Text(text.to_string()),
        Stretch::Token(token) => worker::Stretch::Token(token.0),
    };
    passage.iter().map(stretch).collect()
}

fn inquiry(inquiry: &Inquiry) -> worker::Inquiry {
    match inquiry {
        Inquiry::Tokens { passage: read, adds_special, reads_marks } => worker::Inquiry::Tokens {
            passage: passage(read),
            adds_special: *adds_special,
            reads_marks: *reads_marks,
        },
        Inquiry::Text { tokens } => {
            worker::Inquiry::Text { tokens: tokens.iter().map(|token| token.0).collect() }
        }
        Inquiry::Format { conversation } => {
            let all = Senses { sees: true, hears: true };
            worker::Inquiry::Format { conversation: self::conversation(conversation, all) }
        }
        Inquiry::Vectors { passages } => {
            worker::Inquiry::Vectors { passages: passages.iter().map(passage).collect() }
        }
    }
}

fn finding(finding: worker::Finding) -> Finding {
    match finding {
        worker::Finding::Tokens(tokens) => {
            Finding::Tokens(tokens.into_iter().map(|(token, bytes)| (Token(token), bytes)).collect())
        }
        worker::Finding::Text(text) => Finding::Text(text),
        worker::Finding::Vector(vector) => Finding::Vector(vector),
    }
}

fn conversation(conversation: &Conversation, senses: Senses) -> worker::Conversation {
    let tool = |tool: &Tool| worker::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
    };
    worker::Conversation {
        system: conversation.system.to_string(),
        turns: conversation.turns.iter().map(|spoken| turn(spoken, senses)).collect(),
        tools: conversation.tools.iter().map(tool).collect(),
        thinking: conversation.thinking,
    }
}

/// A model is told of what it cannot take, and does not get it.
fn turn(turn: &ChatTurn, senses: Senses) -> worker::Turn {
    let call = |call: &ToolCall| worker::ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    };
    let content = |content: &Content| match content {
        Content::Text(text) => worker::Content::Text(text.to_string()),
        Content::Image(bytes) if senses.sees => worker::Content::Image(bytes.to_vec()),
        Content::Image(_) => worker::Content::Text(UNSEEN.to_owned()),
        Content::Audio(bytes) if senses.hears => worker::Content::Audio(bytes.to_vec()),
        Content::Audio(_) => worker::Content::Text(UNHEARD.to_owned()),
    };
    worker::Turn {
        role: match turn.role {
            ChatRole::System => worker::Role::System,
            ChatRole::User => worker::Role::User,
            ChatRole::Assistant => worker::Role::Assistant,
            ChatRole::Tool => worker::Role::Tool,
        },
        content: turn.content.iter().map(content).collect(),
        thought: turn.thought.to_string(),
        calls: turn.calls.iter().map(call).collect(),
        answers: turn.answers.to_string(),
    }
}

fn form(form: &AnswerForm) -> worker::AnswerForm {
    worker::AnswerForm {
        calls: match &form.calls {
            CallRule::Free => worker::CallRule::Free,
            CallRule::Never => worker::CallRule::Never,
            CallRule::Required => worker::CallRule::Required,
            CallRule::Named(name) => worker::CallRule::Named(name.clone()),
        },
        parallel_calls: form.parallel_calls,
        shape: match &form.shape {
            Shape::Free => worker::Shape::Free,
            Shape::JsonObject => worker::Shape::JsonObject,
            Shape::JsonSchema(schema) => worker::Shape::JsonSchema(schema.clone()),
            Shape::Grammar(grammar) => worker::Shape::Grammar(grammar.clone()),
        },
        stop: form.stop.clone(),
        logprobs: form.logprobs,
        ignores_end: form.ignores_end,
        bias: form.bias.iter().map(|(token, bias)| (token.0, *bias)).collect(),
    }
}

fn chosen(chosen: worker::Chosen) -> Chosen {
    let part = |part| match part {
        worker::AnswerPart::Text(text) => AnswerPart::Text(text),
        worker::AnswerPart::Thought(text) => AnswerPart::Thought(text),
        worker::AnswerPart::Call(worker::ToolCall { id, name, arguments }) => {
            AnswerPart::Call(ToolCall { id, name, arguments })
        }
        worker::AnswerPart::BadCall { written, fault } => AnswerPart::BadCall { written, fault },
    };
    let logprob = |logprob: worker::TokenLogprob| TokenLogprob {
        token: Token(logprob.token),
        bytes: logprob.bytes,
        logprob: logprob.logprob,
    };
    Chosen {
        parts: chosen.parts.into_iter().map(part).collect(),
        logprobs: chosen
            .logprobs
            .map(|(own, others)| (logprob(own), others.into_iter().map(logprob).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_gets_what_it_takes_and_is_told_of_the_rest() {
        let (picture, voice): (std::sync::Arc<[u8]>, std::sync::Arc<[u8]>) = ((*b"p").into(), (*b"v").into());
        let content = vec![Content::Image(picture), Content::Audio(voice), Content::Text("hi".into())];
        let spoken = ChatTurn { content, ..ChatTurn::text(ChatRole::User, "") };
        let got = |sees, hears| turn(&spoken, Senses { sees, hears }).content;
        let text = |text: &str| worker::Content::Text(text.to_owned());
        let (image, audio) = (worker::Content::Image(b"p".to_vec()), worker::Content::Audio(b"v".to_vec()));
        assert_eq!(got(true, true), [image.clone(), audio, text("hi")]);
        assert_eq!(got(true, false), [image, text(UNHEARD), text("hi")]);
        assert_eq!(got(false, false), [text(UNSEEN), text(UNHEARD), text("hi")]);
    }
}
