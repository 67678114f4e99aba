//! Which model answers a message. Pure: the profile's route, the message and the session decide, nothing else.
use crate::complexity::complexity;
use crate::domain::{ChannelId, ModelId, Route, RouteCondition};

/// What a route looks at.
#[derive(Debug, Clone, Copy)]
pub struct RouteInput<'a> {
    /// What was written.
    pub text: &'a str,
    /// By which channel.
    pub channel: &'a ChannelId,
    /// How many turns the session has.
    pub turns: u64,
}

/// The models that may answer, best first, none twice: the first rule that holds, else the default; then the fallbacks.
pub fn models_for(route: &Route, input: RouteInput<'_>) -> Vec<ModelId> {
    let chosen =
        (route.rules.iter()).find(|rule| holds(&rule.when, input)).map_or(&route.default, |rule| &rule.model);
    let mut models = vec![chosen.clone()];
    for model in std::iter::once(&route.default).chain(&route.fallback) {
        if !models.contains(model) {
            models.push(model.clone());
        }
    }
    models
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
        let names: Vec<String> = models_for(&route, RouteInput { text, channel: &channel, turns })
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, expected, "{text:?} after {turns} turns");
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
                rule(RouteCondition::ComplexityBelow(20), "small"),
            ],
            fallback: vec![],
        };
        let channel = ChannelId::new("cli").unwrap();
        let chosen =
            |text| models_for(&route, RouteInput { text, channel: &channel, turns: 0 })[0].to_string();
        assert_eq!(chosen("Prove that the square root of 2 is irrational, step by step."), "large");
        assert_eq!(chosen("What should I pack for a weekend in Oslo in March?"), "medium");
        assert_eq!(chosen("hello"), "small");
    }
}
