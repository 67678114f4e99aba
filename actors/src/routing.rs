//! Which model answers a message, and why. Pure: the profile's route, the message, the session and what its peer chose decide, nothing else.
use crate::complexity::complexity;
use crate::domain::{ChannelId, ModelId, Route, RouteCondition, Senses, SessionOptions};
use crate::urgency::is_hurried;

/// What a route looks at.
#[derive(Debug, Clone, Copy)]
pub struct RouteInput<'a> {
    /// What was written.
    pub text: &'a str,
    /// What came with it.
    pub brought: Senses,
    /// By which channel.
    pub channel: &'a ChannelId,
    /// How many turns the session has.
    pub turns: u64,
    /// What the peer has chosen.
    pub options: &'a SessionOptions,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The models that may answer, best first, none twice.
    pub models: Vec<ModelId>,
    /// Why the first of them is the first, in words.
    pub because: String,
    /// The peer named the first.
    pub by_peer: bool,
}

/// The peer's choice; else the first rule that holds; else the default. Then the default and the fallbacks.
pub fn route(route: &Route, input: RouteInput<'_>) -> Routed {
    let (chosen, because) = chosen(route, input);
    let mut models = vec![chosen.clone()];
    for model in std::iter::once(&route.default).chain(&route.fallback) {
        if !models.contains(model) {
            models.push(model.clone());
        }
    }
    let by_peer = input.options.model_once.is_some() || input.options.model.is_some();
    Routed { models, because, by_peer }
}

/// The same for a prompt with pictures or recordings, when it is known what each of the models takes: the first of those that take most
/// of it goes first. Whom the peer named stays where he is.
pub fn for_media(mut routed: Routed, wanted: Senses, senses: &[Senses]) -> Routed {
    let met = |place: usize| senses.get(place).map_or(0, |senses| senses.meet(wanted));
    let most = (0..routed.models.len()).map(met).max().unwrap_or(0);
    let best = (0..routed.models.len()).find(|place| met(*place) == most).unwrap_or(0);
    if routed.by_peer || best == 0 {
        return routed;
    }
    let model = routed.models.remove(best);
    let takes = match wanted {
        Senses { sees: true, hears: false } => "looks at pictures",
        Senses { sees: false, hears: true } => "listens to recordings",
        Senses { .. } => "takes more of the pictures and recordings",
    };
    let named = routed.models.first().map(ToString::to_string).unwrap_or_default();
    routed.because = format!("{}; that names {named}, but {model} {takes}", routed.because);
    routed.models.insert(0, model);
    routed
}

fn chosen<'a>(route: &'a Route, input: RouteInput<'a>) -> (&'a ModelId, String) {
    if let Some(model) = &input.options.model_once {
        return (model, "you chose it for one answer".to_owned());
    }
    if let Some(model) = &input.options.model {
        return (model, "you chose it for this session".to_owned());
    }
    match route.rules.iter().find(|rule| holds(&rule.when, input)) {
        Some(rule) => (&rule.model, reason(&rule.when, input)),
        None => (&route.default, "no rule of the profile held, so its default".to_owned()),
    }
}

/// Why a rule held.
fn reason(condition: &RouteCondition, input: RouteInput<'_>) -> String {
    let chars = input.text.chars().count();
    match condition {
        RouteCondition::MessageCharsMin(min) => {
            format!("the message has {chars} characters, the rule is from {min}")
        }
        RouteCondition::Channel(channel) => format!("the rule for the channel {channel}"),
        RouteCondition::StartsWith(start) => format!("the message begins with \"{start}\""),
        RouteCondition::TurnsMin(min) => {
            format!("the session has {} turns, the rule is from {min}", input.turns)
        }
        RouteCondition::ComplexityMin(limit) => format!(
            "the message's complexity is {:.2}, the rule is from {:.2}",
            complexity(input.text),
            f32::from(*limit) / 100.0
        ),
        RouteCondition::ComplexityBelow(limit) => format!(
            "the message's complexity is {:.2}, the rule is below {:.2}",
            complexity(input.text),
            f32::from(*limit) / 100.0
        ),
        RouteCondition::SpeedCritical => "the message asks for a fast answer".to_owned(),
        RouteCondition::Image => "a picture came with the message".to_owned(),
        RouteCondition::Audio => "a recording came with the message".to_owned(),
    }
}

fn holds(condition: &RouteCondition, input: RouteInput<'_>) -> bool {
    match condition {
        RouteCondition::MessageCharsMin(min) => input.text.chars().count() >= *min as usize,
        RouteCondition::Channel(channel) => channel == input.channel,
        RouteCondition::StartsWith(start) => {
            let mut text = input.text.trim_start().chars().flat_map(char::to_lowercase);
            start.chars().flat_map(char::to_lowercase).all(|c| text.next() == Some(c))
        }
        RouteCondition::TurnsMin(min) => input.turns >= u64::from(*min),
        RouteCondition::ComplexityMin(min) => complexity(input.text) * 100.0 >= f32::from(*min),
        RouteCondition::ComplexityBelow(limit) => complexity(input.text) * 100.0 < f32::from(*limit),
        RouteCondition::SpeedCritical => is_hurried(input.text),
        RouteCondition::Image => input.brought.sees,
        RouteCondition::Audio => input.brought.hears,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RouteRule;

    fn model(name: &str) -> ModelId {
        ModelId::new(name).unwrap()
    }

    fn check(text: &str, turns: u64, expected: &[&str]) {
        let channel = ChannelId::new("cli").unwrap();
        let rule = |when, name| RouteRule { when, model: model(name) };
        let route = Route {
            default: model("small"),
            rules: vec![
                rule(RouteCondition::StartsWith("Review".into()), "large"),
                rule(RouteCondition::MessageCharsMin(20), "medium"),
                rule(RouteCondition::TurnsMin(9), "large"),
                rule(RouteCondition::Channel(ChannelId::new("web").unwrap()), "never"),
            ],
            fallback: vec![model("medium"), model("starter")],
        };
        let options = SessionOptions::default();
        let input =
            RouteInput { text, brought: Senses::default(), channel: &channel, turns, options: &options };
        let names: Vec<String> = super::route(&route, input).models.iter().map(ToString::to_string).collect();
        assert_eq!(names, expected, "{text:?} after {turns} turns");
    }

    #[test]
    fn the_peers_choice_comes_before_all_rules_and_each_way_says_why() {
        let channel = ChannelId::new("cli").unwrap();
        let rule = RouteRule { when: RouteCondition::MessageCharsMin(5), model: model("large") };
        let route = Route { default: model("small"), rules: vec![rule], fallback: vec![model("starter")] };
        let of = |text, options: &SessionOptions| {
            let Routed { models, because, .. } = super::route(
                &route,
                RouteInput { text, brought: Senses::default(), channel: &channel, turns: 0, options },
            );
            let names: Vec<String> = models.iter().map(ToString::to_string).collect();
            (names.join(" "), because)
        };
        let none = SessionOptions::default();
        let session = SessionOptions { model: Some(model("mine")), ..none.clone() };
        let once = SessionOptions { model_once: Some(model("starter")), ..session.clone() };
        let table = [
            ("hi", &none, "small starter", "no rule of the profile held, so its default"),
            ("hello", &none, "large small starter", "the message has 5 characters, the rule is from 5"),
            ("hello", &session, "mine small starter", "you chose it for this session"),
            ("hello", &once, "starter small", "you chose it for one answer"),
        ];
        for (text, options, models, because) in table {
            assert_eq!(of(text, options), (models.to_owned(), because.to_owned()));
        }
    }

    #[test]
    fn the_first_rule_that_holds_wins_and_fallbacks_follow() {
        check("hi", 0, &["small", "medium", "starter"]);
        check("  review this long piece of code", 0, &["large", "small", "medium", "starter"]);
        check("a message of more than 20 characters", 0, &["medium", "small", "starter"]);
        check("äöüäöüäöüäöüäöüäöüäö", 0, &["medium", "small", "starter"]);
        check("hi", 9, &["large", "small", "medium", "starter"]);
    }

    #[test]
    fn hard_messages_go_to_the_large_model_and_small_talk_to_the_small() {
        let rule = |when, name| RouteRule { when, model: model(name) };
        let route = Route {
            default: model("medium"),
            rules: vec![
                rule(RouteCondition::ComplexityMin(80), "large"),
                rule(RouteCondition::SpeedCritical, "fast"),
                rule(RouteCondition::ComplexityBelow(20), "small"),
            ],
            fallback: vec![],
        };
        let channel = ChannelId::new("cli").unwrap();
        let options = SessionOptions::default();
        let chosen = |text| {
            super::route(
                &route,
                RouteInput {
                    text,
                    brought: Senses::default(),
                    channel: &channel,
                    turns: 0,
                    options: &options,
                },
            )
        };
        let chosen = |text| chosen(text).models[0].to_string();
        assert_eq!(chosen("Prove that the square root of 2 is irrational, step by step."), "large");
        assert_eq!(chosen("What should I pack for a weekend in Oslo in March?"), "medium");
        assert_eq!(chosen("hello"), "small");
        assert_eq!(chosen("in a hurry: what should I pack for a weekend in Oslo in March?"), "fast");
    }

    const EYES: Senses = Senses { sees: true, hears: false };
    const EARS: Senses = Senses { sees: false, hears: true };
    const BOTH: Senses = Senses { sees: true, hears: true };
    const NONE: Senses = Senses { sees: false, hears: false };

    #[test]
    fn what_came_with_a_message_may_choose_the_model() {
        let rule = |when, name| RouteRule { when, model: model(name) };
        let rules = vec![rule(RouteCondition::Audio, "ears"), rule(RouteCondition::Image, "eyes")];
        let route = Route { default: model("plain"), rules, fallback: vec![] };
        let (channel, options) = (ChannelId::new("cli").unwrap(), SessionOptions::default());
        let table = [(NONE, "plain"), (EYES, "eyes"), (EARS, "ears"), (BOTH, "ears")];
        for (brought, expected) in table {
            let input = RouteInput { text: "hi", brought, channel: &channel, turns: 0, options: &options };
            assert_eq!(super::route(&route, input).models[0], model(expected));
        }
    }

    #[test]
    fn a_model_that_takes_the_media_goes_before_one_that_does_not() {
        let table = [
            (EYES, [EYES, BOTH], "a b", "so"),
            (EYES, [NONE, NONE], "a b", "so"),
            (EYES, [NONE, EYES], "b a", "so; that names a, but b looks at pictures"),
            (EARS, [EYES, EARS], "b a", "so; that names a, but b listens to recordings"),
            (BOTH, [EYES, EARS], "a b", "so"),
            (BOTH, [EYES, BOTH], "b a", "so; that names a, but b takes more of the pictures and recordings"),
        ];
        for (wanted, senses, models, because) in table {
            let routed =
                |by_peer| Routed { models: vec![model("a"), model("b")], because: "so".into(), by_peer };
            let found = for_media(routed(false), wanted, &senses);
            let names: Vec<&str> = found.models.iter().map(ModelId::as_str).collect();
            assert_eq!((names.join(" ").as_str(), found.because.as_str()), (models, because), "{wanted:?}");
            assert_eq!(for_media(routed(true), wanted, &senses), routed(true));
        }
    }
}
