//! Reads an Archon's profile into the checked form that the actors use. Every default and every range of a profile is written here,
//! and nowhere else.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archond_actors::domain::{
    ArchonId, ArchonLimits, ArchonSpec, ChannelId, ContextPolicy, FitPolicy, ModelId, Route, RouteCondition,
    RouteRule, Sampling,
};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, nearest};
use super::profile_tools as tools;
use super::reader::{Effective, Group, Located, Sheet, any, within};
use super::values::{HumanDuration, Setting};
use super::{Known, PLATFORMS};

/// The channels that a profile lists. Platforms have a file of their own each ([`super::channel_file`]).
pub const CHANNELS: [&str; 2] = ["cli", "api"];

/// Models that stand in for the chosen one, when a profile does not say: the smaller Gemma 4 variants, then the starter, which
/// is always there.
const FALLBACK: [&str; 3] = ["gemma-4-e4b", "gemma-4-e2b", "smollm2-135m-instruct"];

/// Longest system prompt, in bytes: about 8000 tokens, the whole default context.
const PERSONA_BYTES_MAX: usize = 32 * 1024;

/// Longest name and one-line description, in characters: what a list shows in one line.
const LINE_CHARS_MAX: usize = 120;

/// A profile after all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What the actors are given.
    pub spec: ArchonSpec,
    /// Where it was written.
    pub origin: Origin,
    /// The value of each of its fields, and where each came from.
    pub effective: Vec<Effective>,
}

/// Where a profile was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It came with archond.
    Shipped,
    /// The user's own file.
    User(PathBuf),
}

/// A profile's text before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileSource {
    /// The Archon's name: the file's name without `.ron`.
    pub id: ArchonId,
    /// Where it was written.
    pub origin: Origin,
    /// What messages call the file.
    pub path: PathBuf,
    /// The text.
    pub text: String,
}

/// When a rule holds, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum When {
    MessageCharsMin(u32),
    Channel(String),
    StartsWith(String),
    TurnsMin(u32),
    ComplexityMin(f64),
    ComplexityBelow(f64),
    SpeedCritical,
    Image,
    Audio,
}

impl Setting for When {
    const WRITTEN: &'static str = "one of MessageCharsMin(1500), StartsWith(\"review\"), TurnsMin(20), ComplexityMin(0.8), ComplexityBelow(0.2), SpeedCritical, Image, Audio and Channel(\"cli\")";
}

/// Reads one profile. What it names must be known.
pub fn read(source: &ProfileSource, known: &Known) -> Result<Profile, Vec<Fault>> {
    let sheet = Sheet::new(&source.path, source.text.clone());
    let spec = sheet.top().and_then(|top| Reading { sheet: &sheet, known }.profile(top, &source.id));
    let effective = sheet.finish()?;
    // Without a spec there is a fault, so this cannot be reached; said in a way that needs no panic.
    let spec = spec.ok_or_else(|| vec![Fault::of_file(&source.path, "the profile could not be read")])?;
    Ok(Profile { spec, origin: source.origin.clone(), effective })
}

struct Reading<'a> {
    sheet: &'a Sheet<'a>,
    known: &'a Known,
}

impl Reading<'_> {
    fn profile(&self, mut top: Group<'_>, id: &ArchonId) -> Option<ArchonSpec> {
        let display_name = top.value("display_name", capitalised(id.as_str()), one_line);
        let description = top.required("description", "one line for lists, in quotes", one_line);
        let persona = top.required("persona", "the system prompt, who the Archon is", persona_fits);
        let channels = self.channels(&mut top, id);
        let platforms = self.known.channels.get(id).map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&ChannelId> = channels
            .iter()
            .map(|channel| &channel.value)
            .chain(platforms.iter().map(|file| &file.channel))
            .collect();
        let route = self.route(top.group("route"), &names);
        let sampling = sampling(top.group("sampling"));
        let fit = fit(top.group("fit"));
        let context_group = top.group("context");
        let limits_group = top.group("limits");
        let (context, limits) = context_and_limits(context_group, limits_group);
        let tools = tools::policy(self.sheet, &mut top, id, self.known);
        if let Some(persona) = &persona {
            check_persona_leaves_room(&top, persona, context);
        }
        top.finish();
        Some(ArchonSpec {
            id: id.clone(),
            display_name,
            description: description?.value,
            persona: Arc::from(persona?.value.trim()),
            route: route?,
            sampling,
            fit,
            tools: Arc::new(tools),
            context,
            channels: names.into_iter().cloned().collect(),
            access: platforms.iter().map(|file| (file.channel.clone(), file.access.clone())).collect(),
            limits,
        })
    }

    fn channels(&self, top: &mut Group<'_>, id: &ArchonId) -> Vec<Located<ChannelId>> {
        let written = top.list("channels", &CHANNELS.map(str::to_owned), any);
        let channels: Vec<_> = written.into_iter().filter_map(|channel| self.channel(&channel, id)).collect();
        self.refuse_twins(channels.iter().map(|channel| (channel.value.as_str(), channel)));
        channels
    }

    fn channel(&self, written: &Located<String>, id: &ArchonId) -> Option<Located<ChannelId>> {
        let name = written.value.as_str();
        if let (true, Ok(value)) = (CHANNELS.contains(&name), ChannelId::new(name)) {
            return Some(Located { value, span: written.span });
        }
        let hint = Some(if PLATFORMS.contains(&name) {
            format!("a platform is not listed here: `archond channel add {name} {id}` joins it")
        } else {
            format!("this version has: {}", CHANNELS.join(", "))
        });
        self.sheet.fault(written.span, format!("there is no channel `{name}`"), hint);
        None
    }

    fn route(&self, mut route: Group<'_>, channels: &[&ChannelId]) -> Option<Route> {
        let default = route.required("default", "the model that answers, like \"gemma-4-e4b\"", any);
        let default = default.map(|name| self.model(&name));
        // Each step ends before the next begins: collecting straight into an Option would stop at the first fault.
        let rules: Vec<_> = route.groups("rules").into_iter().map(|rule| self.rule(rule, channels)).collect();
        let chosen = default.as_ref().and_then(Option::as_ref);
        let stand_in = |name: &&str| {
            self.known.models.iter().any(|model| model.as_str() == *name)
                && chosen.is_none_or(|id| id.as_str() != *name)
        };
        let stand_ins: Vec<String> =
            FALLBACK.iter().filter(|name| stand_in(name)).map(|&name| name.into()).collect();
        let fallback = route.list("fallback", &stand_ins, any);
        self.refuse_twins(fallback.iter().map(|name| (name.value.as_str(), name)));
        let fallback: Vec<_> = fallback.iter().map(|name| self.model(name)).collect();
        route.finish();
        Some(Route {
            default: default??,
            rules: rules.into_iter().collect::<Option<_>>()?,
            fallback: fallback.into_iter().collect::<Option<_>>()?,
        })
    }

    fn rule(&self, mut rule: Group<'_>, channels: &[&ChannelId]) -> Option<RouteRule> {
        let when = rule.required("when", "when the rule holds, like MessageCharsMin(1500)", any);
        let model = rule.required("model", "the model that the rule chooses", any);
        let when = when.and_then(|when| self.condition(&when, channels));
        let model = model.and_then(|name| self.model(&name));
        rule.finish();
        Some(RouteRule { when: when?, model: model? })
    }

    fn condition(&self, when: &Located<When>, channels: &[&ChannelId]) -> Option<RouteCondition> {
        let fault = |message: &str, hint: &str| {
            self.sheet.fault(when.span, message, Some(hint.to_owned()));
            None
        };
        match &when.value {
            When::MessageCharsMin(0) | When::TurnsMin(0) => fault(
                "a rule from 0 up always holds",
                "name its model as `default` instead, or write a greater number",
            ),
            When::MessageCharsMin(chars) => Some(RouteCondition::MessageCharsMin(*chars)),
            When::TurnsMin(turns) => Some(RouteCondition::TurnsMin(*turns)),
            When::ComplexityMin(part) | When::ComplexityBelow(part) if !(0.01..=0.99).contains(part) => {
                fault("complexity is a part: from 0.01 to 0.99", "0.8 is much, a greeting has less than 0.2")
            }
            When::ComplexityMin(part) => Some(RouteCondition::ComplexityMin(percent(*part))),
            When::ComplexityBelow(part) => Some(RouteCondition::ComplexityBelow(percent(*part))),
            When::SpeedCritical => Some(RouteCondition::SpeedCritical),
            When::Image => Some(RouteCondition::Image),
            When::Audio => Some(RouteCondition::Audio),
            When::StartsWith(text) if text.trim().is_empty() => {
                fault("a rule for every beginning always holds", "write the word that messages begin with")
            }
            When::StartsWith(text) => Some(RouteCondition::StartsWith(text.clone())),
            When::Channel(name) => {
                let used = channels.iter().find(|channel| channel.as_str() == name);
                let hint = if PLATFORMS.contains(&name.as_str()) {
                    format!("`archond channel add {name} ARCHON` joins the Archon to it")
                } else {
                    "name one of `channels`".to_owned()
                };
                match used {
                    Some(channel) => Some(RouteCondition::Channel((*channel).clone())),
                    None => fault("the rule never holds: the Archon does not use this channel", &hint),
                }
            }
        }
    }

    fn model(&self, written: &Located<String>) -> Option<ModelId> {
        let name = written.value.as_str();
        let known = self.known.models.iter().find(|model| model.as_str() == name);
        if known.is_none() {
            let hint = match nearest(name, self.known.models.iter().map(ModelId::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "`archond model ls` shows those that there are".to_owned(),
            };
            self.sheet.fault(
                written.span,
                format!("there is no model `{name}` in the catalogue"),
                Some(hint),
            );
        }
        known.cloned()
    }

    fn refuse_twins<'n, T: 'n>(&self, items: impl Iterator<Item = (&'n str, &'n Located<T>)>) {
        let mut seen = BTreeSet::new();
        for (name, item) in items {
            if !seen.insert(name) {
                let hint = Some("remove one of them".to_owned());
                self.sheet.fault(item.span, format!("`{name}` is in the list twice"), hint);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part between 0 and 1")]
fn percent(part: f64) -> u8 {
    (part * 100.0).round() as u8
}

fn sampling(mut group: Group<'_>) -> Sampling {
    // The defaults are Gemma 4's own generation settings; penalties are off in them.
    let sampling = Sampling {
        temperature: real(&mut group, "temperature", 1.0, 0.0, 2.0),
        top_k: group.value("top_k", 64, within(0..=1000, "")),
        top_p: real(&mut group, "top_p", 0.95, 0.0, 1.0),
        min_p: real(&mut group, "min_p", 0.0, 0.0, 1.0),
        repeat_penalty: real(&mut group, "repeat_penalty", 1.0, 1.0, 2.0),
        presence_penalty: real(&mut group, "presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty: real(&mut group, "frequency_penalty", 0.0, -2.0, 2.0),
        seed: group.value("seed", None, any),
    };
    group.finish();
    sampling
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a number within -2 to 2 is rounded to what the sampler uses"
)]
fn real(group: &mut Group<'_>, name: &'static str, default: f64, least: f64, most: f64) -> f32 {
    group.value(name, default, within(least..=most, "")) as f32
}

fn fit(mut group: Group<'_>) -> FitPolicy {
    let fit = FitPolicy {
        progress_timeout: duration(&mut group, "progress_timeout", seconds(30), seconds(10), seconds(600)),
        retries_max: group.value("retries_max", 3, within(0..=10, " retries")),
        retry_backoff: duration(
            &mut group,
            "retry_backoff",
            seconds(1),
            Duration::from_millis(100),
            seconds(60),
        ),
        message_age_max: duration(
            &mut group,
            "message_age_max",
            seconds(86_400),
            seconds(60),
            seconds(30 * 86_400),
        ),
    };
    group.finish();
    fit
}

fn context_and_limits(mut context: Group<'_>, mut limits: Group<'_>) -> (ContextPolicy, ArchonLimits) {
    let policy = ContextPolicy {
        tokens_max: context.value("tokens_max", 8192, within(256..=262_144, " tokens")),
        compact_at_percent: context.value("compact_at_percent", 75, within(25..=95, " percent")),
        keep_turns: context.value("keep_turns", 4, within(1..=100, " turns")),
    };
    let bounds = ArchonLimits {
        message_bytes_max: limits.value("message_bytes_max", 65_536, within(256..=1_048_576, " bytes")),
        answer_tokens_max: limits.value("answer_tokens_max", 1024, within(1..=8192, " tokens")),
        turns_in_flight_max: limits.value("turns_in_flight_max", 8, within(1..=64, " turns")),
        inbox_len_max: limits.value("inbox_len_max", 1000, within(1..=100_000, " messages")),
        session_idle: duration(&mut limits, "session_idle", seconds(600), seconds(5), seconds(86_400)),
        crashes_max: limits.value("crashes_max", 5, within(0..=100, " crashes")),
        crash_period: duration(&mut limits, "crash_period", seconds(60), seconds(1), seconds(3600)),
    };
    let room = policy.tokens_max - policy.tokens_max * u32::from(policy.compact_at_percent) / 100;
    if bounds.answer_tokens_max > room {
        let message = format!(
            "an answer of `answer_tokens_max` {} does not fit: above `compact_at_percent` {} of `tokens_max` {} is room for {room} tokens",
            bounds.answer_tokens_max, policy.compact_at_percent, policy.tokens_max,
        );
        limits.fault(
            "answer_tokens_max",
            message,
            Some("make one of the three smaller or greater".to_owned()),
        );
    }
    context.finish();
    limits.finish();
    (policy, bounds)
}

pub(super) fn duration(
    group: &mut Group<'_>,
    name: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Duration {
    group.value(name, HumanDuration(default), within(HumanDuration(least)..=HumanDuration(most), "")).0
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn check_persona_leaves_room(top: &Group<'_>, persona: &Located<String>, context: ContextPolicy) {
    /// Bytes of English text per token, rounded down: only a gross misfit is refused here, the exact count is the model's.
    const BYTES_PER_TOKEN: usize = 4;
    let tokens = persona.value.len() / BYTES_PER_TOKEN;
    let half = context.tokens_max as usize / 2;
    if tokens > half {
        let message = format!(
            "`persona` takes about {tokens} tokens, more than half of the context of {}",
            context.tokens_max
        );
        top.fault("persona", message, Some("shorten it, or raise `context.tokens_max`".to_owned()));
    }
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn one_line(text: &String) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    let length = text.chars().count();
    if length > LINE_CHARS_MAX {
        return Err(format!("must be at most {LINE_CHARS_MAX} characters long, has {length}"));
    }
    Ok(())
}

#[expect(clippy::ptr_arg, reason = "a check is given a reference to the setting's own type")]
fn persona_fits(text: &String) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > PERSONA_BYTES_MAX {
        return Err(format!("must be at most {PERSONA_BYTES_MAX} bytes long, has {}", text.len()));
    }
    Ok(())
}

/// A name with a capital letter: `ezra` is `Ezra`.
pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
