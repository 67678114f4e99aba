//! Figures of several measurements. Pure.
use serde::Serialize;

/// A figure that was measured several times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// The spread of measurements; all 0 of none.
pub(super) fn spread(measured: Vec<f64>) -> Spread {
    let sorted = sorted(measured);
    let at = |part| percentile(&sorted, part);
    Spread { median: at(0.5), min: at(0.0), max: at(1.0) }
}

pub(super) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which this part of sorted values lies, between neighbours in proportion; 0 of none.
pub(super) fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = part.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        let values = sorted(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!([0.0, 0.5, 1.0].map(|part| percentile(&values, part)), [1.0, 2.5, 4.0]);
        assert_eq!(percentile(&[], 0.5), 0.0);
        assert_eq!(spread(vec![7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }
}
