//! Sending and changing single messages: with styles, and without where Telegram cannot read them.
use std::ops::Range;
use std::path::Path;

use archond_actors::domain::{Attachment, ModelId};
use teloxide::payloads::{EditMessageTextSetters, SendMessageSetters};
use teloxide::requests::Requester;
use teloxide::types::{
    ChatId, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, LinkPreviewOptions, Message, MessageId,
    ParseMode, ReplyParameters,
};

use super::fault::Failure;
use super::files::{self, Form};
use super::line::Line;
use super::place::Place;
use super::styled::{Styled, first_units};
use super::update::{BUTTONS, given_of};

/// Longest text as it is sent, its styles included; longer ones Telegram does not read.
const HTML_BYTES_MAX: usize = 30_000;
/// Longest text below a file, in UTF-16 units.
const CAPTION_UNITS_MAX: usize = 1024;

/// One message: its text, with styles and without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    plain: String,
    html: Option<String>,
}

impl Words {
    /// A part of a text.
    pub(super) fn of(styled: &Styled, part: &Range<usize>) -> Self {
        let plain = styled.text.get(part.clone()).unwrap_or_default().to_owned();
        let html =
            Some(styled.html(part)).filter(|html| !styled.spans.is_empty() && html.len() <= HTML_BYTES_MAX);
        Self { plain, html }
    }

    /// As it is read.
    pub(super) fn as_str(&self) -> &str {
        &self.plain
    }

    /// Text without styles.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { plain: text.into(), html: None }
    }
}

/// Does something with a text: with its styles, and once more without them if Telegram cannot read them.
pub(super) async fn read_or_plain<T, F>(
    words: &Words,
    mut say: impl FnMut(String, Option<ParseMode>) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, teloxide::RequestError>>,
{
    if let Some(html) = &words.html {
        match say(html.clone(), Some(ParseMode::Html)).await {
            Ok(done) => return Ok(done),
            Err(error) => match Failure::of(&error) {
                Failure::Markup => {
                    tracing::warn!("Telegram could not read the styles of a text, which is sent without them")
                }
                other => return Err(other),
            },
        }
    }
    say(words.plain.clone(), None).await.map_err(|error| Failure::of(&error))
}

/// Sends a message; answers its number. In a group it shows what it answers, where `answers` says so.
pub(super) async fn send(
    line: &Line,
    place: &Place,
    words: &Words,
    answers: bool,
    buttons: Option<InlineKeyboardMarkup>,
) -> Result<i32, Failure> {
    let send = |chat: ChatId, text: String, mode: Option<ParseMode>| {
        let mut request = line.quick.send_message(chat, text).link_preview_options(no_preview());
        request.parse_mode = mode;
        request.message_thread_id = place.thread_id();
        if answers && !place.is_private() {
            request = request
                .reply_parameters(ReplyParameters::new(place.message_id()).allow_sending_without_reply());
        }
        if let Some(buttons) = &buttons {
            request = request.reply_markup(buttons.clone());
        }
        async { request.await }
    };
    let sent = match read_or_plain(words, |text, mode| send(place.chat_id(), text, mode)).await {
        // The group has grown, and has another number since.
        Err(Failure::Moved(to)) => read_or_plain(words, |text, mode| send(ChatId(to), text, mode)).await,
        other => other,
    };
    sent.map(|message| message.id.0)
}

/// Makes a message say something else. That it says so already is fine.
pub(super) async fn edit(line: &Line, place: &Place, message: i32, words: &Words) -> Result<(), Failure> {
    let edit = |text: String, mode: Option<ParseMode>| {
        let mut request = line.quick.edit_message_text(place.chat_id(), MessageId(message), text);
        request.parse_mode = mode;
        let request = request.link_preview_options(no_preview());
        async { request.await }
    };
    match read_or_plain(words, edit).await {
        Ok(_) | Err(Failure::Unchanged) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Sends a file of the workspace, or says why it cannot be sent; answers the message's number.
pub(super) async fn send_file(
    line: &Line,
    place: &Place,
    workspace: &Path,
    attachment: &Attachment,
) -> Result<i32, Failure> {
    let (from, wanted) = (workspace.to_owned(), attachment.clone());
    let read = tokio::task::spawn_blocking(move || files::read(&from, &wanted)).await;
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(why)) => return send(line, place, &Words::plain(why), false, None).await,
        Err(_) => return Err(Failure::Transient("a file could not be read".into())),
    };
    let upload = |form| upload(line, place, attachment, form, bytes.clone());
    let sent = match (files::form(attachment), upload(files::form(attachment)).await) {
        // It is no picture or recording as Telegram has them, but surely a file.
        (Form::Photo | Form::Voice | Form::Audio, Err(Failure::Refused(_))) => upload(Form::Document).await,
        (_, other) => other,
    };
    match sent {
        Ok(message) => Ok(message.id.0),
        // If it is the chat that takes nothing, that is said now.
        Err(Failure::Refused(why)) => {
            let words = Words::plain(format!("`{}` could not be sent: {why}", attachment.path));
            send(line, place, &words, false, None).await
        }
        Err(other) => Err(other),
    }
}

/// The text below a file, as it is sent.
pub(super) fn caption(attachment: &Attachment) -> Option<&str> {
    attachment.caption.as_deref().map(|caption| first_units(caption, CAPTION_UNITS_MAX))
}

async fn upload(
    line: &Line,
    place: &Place,
    attachment: &Attachment,
    form: Form,
    bytes: Vec<u8>,
) -> Result<Message, Failure> {
    let file = InputFile::memory(bytes).file_name(files::file_name(attachment));
    let caption = caption(attachment).map(str::to_owned);
    let (chat, topic) = (place.chat_id(), place.thread_id());
    let sent = match form {
        Form::Photo => {
            let mut request = line.slow.send_photo(chat, file);
            (request.caption, request.message_thread_id) = (caption, topic);
            request.await
        }
        Form::Voice => {
            let mut request = line.slow.send_voice(chat, file);
            (request.caption, request.message_thread_id) = (caption, topic);
            request.await
        }
        Form::Audio => {
            let mut request = line.slow.send_audio(chat, file);
            (request.caption, request.message_thread_id) = (caption, topic);
            request.await
        }
        Form::Document => {
            let mut request = line.slow.send_document(chat, file);
            (request.caption, request.message_thread_id) = (caption, topic);
            request.await
        }
    };
    sent.map_err(|error| Failure::of(&error))
}

/// Telegram would ask for the pages that a model names, and so tell their owners what it wrote.
fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

/// The buttons with models: all that may answer, and the word that leaves it to the profile.
pub(super) fn models(models: &[ModelId]) -> InlineKeyboardMarkup {
    let names = models.iter().map(ModelId::as_str).chain(["auto"]);
    let row = |name: &str| Some(vec![InlineKeyboardButton::callback(name, given_of(name)?)]);
    InlineKeyboardMarkup::new(names.filter_map(row))
}

/// The buttons below a question.
pub(super) fn yes_or_no() -> InlineKeyboardMarkup {
    let rows = BUTTONS.iter().map(|(name, given, _)| vec![InlineKeyboardButton::callback(*name, *given)]);
    InlineKeyboardMarkup::new(rows)
}
