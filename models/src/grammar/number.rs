//! Numbers between bounds, digit by digit.
use super::charset::CharSet;
use super::rule::Rule;

/// Most digits of an integer without bounds: each such number is exact in 64 bits.
const DIGITS_MAX: usize = 16;
/// Most digits behind the point.
const FRACTION_DIGITS_MAX: u32 = 16;

fn digits(first: u8, last: u8) -> Rule {
    if first == last {
        return Rule::words(char::from(first));
    }
    Rule::One(CharSet::of([(char::from(first), char::from(last))]))
}

/// Whole numbers from `min` to `max`; [`Rule::NEVER`] if there are none.
pub(super) fn integer(min: Option<i128>, max: Option<i128>) -> Rule {
    let most = 10_i128.pow(DIGITS_MAX as u32) - 1;
    let longer = |bound: i128| bound.saturating_mul(10);
    let (low, high) = match (min, max) {
        (None, None) => (-most, most),
        (Some(min), None) => (min, most.max(longer(min))),
        (None, Some(max)) => ((-most).min(longer(max)), max),
        (Some(min), Some(max)) => (min, max),
    };
    if low > high {
        return Rule::NEVER;
    }
    let below = (low < 0).then(|| {
        Rule::sequence([Rule::words("-"), natural(high.min(-1).unsigned_abs(), low.unsigned_abs())])
    });
    let above = (high >= 0).then(|| natural(low.max(0).unsigned_abs(), high.unsigned_abs()));
    Rule::choice(below.into_iter().chain(above))
}

/// From `low` to `high`, without leading zeros.
fn natural(low: u128, high: u128) -> Rule {
    let mut rules = Vec::new();
    if low == 0 {
        rules.push(Rule::words("0"));
    }
    let low = low.max(1);
    if low > high {
        return Rule::choice(rules);
    }
    let (shortest, longest) = (low.to_string(), high.to_string());
    if shortest.len() == longest.len() {
        rules.push(between(shortest.as_bytes(), longest.as_bytes()));
        return Rule::choice(rules);
    }
    let (mut first_full, mut last_full) = (shortest.len() + 1, longest.len() - 1);
    if low == 10_u128.pow(shortest.len() as u32 - 1) {
        first_full -= 1;
    } else {
        rules.push(between(shortest.as_bytes(), &vec![b'9'; shortest.len()]));
    }
    if longest.bytes().all(|digit| digit == b'9') {
        last_full += 1;
    }
    if first_full <= last_full {
        let (least, most) = (first_full as u32 - 1, last_full as u32 - 1);
        rules.push(Rule::sequence([digits(b'1', b'9'), digits(b'0', b'9').repeat(least, Some(most))]));
    }
    if last_full < longest.len() {
        let mut least = vec![b'0'; longest.len()];
        least[0] = b'1';
        rules.push(between(&least, longest.as_bytes()));
    }
    Rule::choice(rules)
}

/// Between two rows of equally many digits.
fn between(low: &[u8], high: &[u8]) -> Rule {
    let (Some((first, low_rest)), Some((last, high_rest))) = (low.split_first(), high.split_first()) else {
        return Rule::EMPTY;
    };
    let free = |count: usize| digits(b'0', b'9').repeat(count as u32, Some(count as u32));
    let (is_least, is_most) =
        (low_rest.iter().all(|digit| *digit == b'0'), high_rest.iter().all(|digit| *digit == b'9'));
    if first == last {
        let rest = if is_least && is_most { free(low_rest.len()) } else { between(low_rest, high_rest) };
        return Rule::sequence([digits(*first, *first), rest]);
    }
    let mut rules = Vec::new();
    let (mut inner_first, mut inner_last) = (*first, *last);
    if !is_least {
        inner_first += 1;
        rules.push(Rule::sequence([digits(*first, *first), between(low_rest, &vec![b'9'; low_rest.len()])]));
    }
    if !is_most {
        inner_last -= 1;
    }
    if inner_first <= inner_last {
        rules.push(Rule::sequence([digits(inner_first, inner_last), free(low_rest.len())]));
    }
    if !is_most {
        rules.push(Rule::sequence([digits(*last, *last), between(&vec![b'0'; high_rest.len()], high_rest)]));
    }
    Rule::choice(rules)
}

fn fraction() -> Rule {
    Rule::sequence([Rule::words("."), digits(b'0', b'9').repeat(1, Some(FRACTION_DIGITS_MAX))])
}

/// Numbers from `min` to `max`, which are whole; without bounds also with an exponent.
pub(super) fn number(min: Option<i128>, max: Option<i128>) -> Rule {
    if min.is_none() && max.is_none() {
        let exponent = Rule::sequence([
            Rule::One(CharSet::among("eE")),
            Rule::One(CharSet::among("+-")).optional(),
            digits(b'0', b'9').repeat(1, Some(2)),
        ]);
        let whole = natural(0, 10_u128.pow(DIGITS_MAX as u32) - 1);
        return Rule::sequence([
            Rule::words("-").optional(),
            whole,
            fraction().optional(),
            exponent.optional(),
        ]);
    }
    // Behind the point a number grows away from zero, so the outermost whole numbers stand alone.
    let above = integer(Some(min.unwrap_or(0).max(0)), max.map(|max| max - 1));
    let above = if max.is_some_and(|max| max <= 0) { Rule::NEVER } else { above };
    let below = match min {
        Some(min) if min >= 0 => Rule::NEVER,
        _ => {
            let least = max.map_or(0, |max| (-max).max(0));
            let most = min.map(|min| -min - 1);
            Rule::sequence([Rule::words("-"), integer(Some(least), most)])
        }
    };
    Rule::choice([
        integer(min, max),
        Rule::sequence([above, fraction()]),
        Rule::sequence([below, fraction()]),
    ])
}
