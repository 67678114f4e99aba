//! The loads with several sessions as a picture (SVG): how much is written at once, and how long the first word takes.
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Report;

/// The picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot could not be drawn: {0}")]
pub struct PlotError(String);

/// Of the whole picture, in pixels.
const SIZE: (u32, u32) = (900, 420);

/// Draws a report.
pub fn draw(report: &Report) -> Result<String, PlotError> {
    let mut svg = String::new();
    plot(report, &mut svg).map_err(|error| PlotError(error.to_string()))?;
    Ok(svg)
}

fn plot(report: &Report, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!(
        "{}: reads {:.0}, writes {:.1} tok/s with {} threads",
        report.model, report.prompt.median, report.generation.median, report.threads
    );
    let area = area.titled(&title, ("sans-serif", 20))?;
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let written = report.sessions.iter().map(|load| (f64::from(load.sessions), load.tokens_per_second));
    let lines: Vec<(&str, f64)> = [
        Some(("20 tok/s", report.line_tokens_per_second)),
        report.limit.map(|limit| ("memory's limit for one answer", limit.tokens_per_second)),
    ]
    .into_iter()
    .flatten()
    .collect();
    curve(&left, "tokens a second, all sessions", &written.collect::<Vec<_>>(), &lines)?;
    let waited = report.sessions.iter().map(|load| (f64::from(load.sessions), load.first_token_p50));
    curve(&right, "first token, median, seconds", &waited.collect::<Vec<_>>(), &[])?;
    area.present()?;
    Ok(())
}

fn curve(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    points: &[(f64, f64)],
    lines: &[(&str, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let greatest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let most = greatest(&mut points.iter().map(|(_, y)| *y));
    // A limit far above everything would press the curve down to the axis.
    let shown: Vec<_> = lines.iter().filter(|(_, y)| *y <= most * 3.0).collect();
    let top = most.max(greatest(&mut shown.iter().map(|(_, y)| *y))) * 1.15;
    let right = greatest(&mut points.iter().map(|(x, _)| *x)) + 0.5;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..right, 0.0..top.max(1e-3))?;
    chart.configure_mesh().x_desc("sessions at once").light_line_style(WHITE).draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)).point_size(4))?;
    for (name, y) in shown {
        chart.draw_series(LineSeries::new([(0.0, *y), (right, *y)], RED.stroke_width(1)))?;
        let style = ("sans-serif", 12).into_font().color(&RED).pos(Pos::new(HPos::Right, VPos::Bottom));
        chart.draw_series([Text::new((*name).to_owned(), (right, *y), style)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Limit, Sessions, Spread};
    use super::*;

    #[test]
    fn every_load_is_a_point_and_every_line_has_its_name() {
        let spread = Spread { median: 40.0, min: 39.0, max: 41.0 };
        let load = |sessions, tokens_per_second| Sessions {
            sessions,
            tokens_per_second,
            first_token_p50: 0.5,
            first_token_p95: 1.0,
            gap_max: 0.1,
            prompt_tokens: 10,
            reused_tokens: 5,
            cpu_seconds: 1.0,
        };
        let report = Report {
            model: "m<&>".to_owned(),
            threads: 2,
            load_seconds: 1.0,
            prompt: spread,
            prompt_tokens: 512,
            generation: spread,
            sessions: vec![load(1, 40.0), load(2, 60.0), load(4, 75.0)],
            memory_peak_bytes: 1,
            limit: Some(Limit {
                bytes_per_second: 1e10,
                bytes_per_token: 100_000_000,
                tokens_per_second: 100.0,
            }),
            line_tokens_per_second: 20.0,
            passed: true,
        };
        let svg = draw(&report).unwrap();
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(
            svg.contains("20 tok/s") && svg.contains("memory&apos;s limit") || svg.contains("memory's limit")
        );
        assert!(svg.contains("m&lt;&amp;&gt;") && svg.trim_end().ends_with("</svg>"));
        assert!(draw(&Report { sessions: Vec::new(), ..report }).is_ok());
    }
}
