//! Draws what was seen: the tree, the models with their speed, the requests.
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::watched::{Look, Watched};
use crate::cli::moment::bytes;
use crate::cli::plain::plain;
use crate::cli::repl::render;

/// Lines of a speed curve.
const CURVE_HEIGHT: u16 = 3;
/// Columns of the right half where there is room for two.
const SIDE_WIDTH: u16 = 66;
/// Narrower screens have one column.
const WIDE: u16 = 130;

/// What the person chose to see.
#[derive(Debug, Default)]
pub(super) struct View {
    /// First line of the tree.
    pub(super) scroll: u16,
    /// The picture stands still.
    pub(super) paused: bool,
}

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, watched: &Watched, view: &mut View) {
    let Some(look) = &watched.last else { return };
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(headline(look, view), head);
    frame.render_widget(
        Line::from("q leaves   ↑ ↓ scroll   p pauses").style(Style::new().add_modifier(Modifier::DIM)),
        foot,
    );
    let side_height = side_height(look, body.height);
    let (tree_area, side) = if body.width >= WIDE {
        let [left, right] =
            Layout::horizontal([Constraint::Min(60), Constraint::Length(SIDE_WIDTH)]).areas(body);
        (left, right)
    } else {
        let [above, below] =
            Layout::vertical([Constraint::Min(5), Constraint::Length(side_height)]).areas(body);
        (above, below)
    };
    tree(frame, look, view, tree_area);
    let curves = u16::try_from(watched.speeds.len()).unwrap_or(u16::MAX).saturating_mul(CURVE_HEIGHT + 1);
    let models_height = u16::try_from(look.models.len()).unwrap_or(u16::MAX).saturating_add(3);
    let [models_area, curves_area, requests_area] =
        Layout::vertical([Constraint::Length(models_height), Constraint::Length(curves), Constraint::Min(3)])
            .areas(side);
    models(frame, watched, look, models_area);
    speeds(frame, watched, curves_area);
    requests(frame, look, requests_area);
}

fn side_height(look: &Look, height: u16) -> u16 {
    let wanted = look.models.len() * usize::from(2 + CURVE_HEIGHT) + look.requests.len() + 8;
    u16::try_from(wanted).unwrap_or(u16::MAX).min(height / 2)
}

fn headline(look: &Look, view: &View) -> Line<'static> {
    let restarts: u32 = look.actors.iter().map(|actor| actor.restarts).sum();
    let waiting = look.requests.iter().filter(|request| request.position.is_some()).count();
    let text = format!(
        "archond {}  process {}  {}  {} actors  {} running  {waiting} waiting  {restarts} restarts{}",
        look.house.version,
        look.house.pid,
        bytes(look.house.memory_bytes),
        look.actors.len(),
        look.requests.len() - waiting,
        if view.paused { "  paused" } else { "" }
    );
    Line::from(text).style(Style::new().add_modifier(Modifier::BOLD))
}

fn colour(state: &str) -> Color {
    match state {
        "ready" => Color::Green,
        "running" => Color::Cyan,
        "failed" | "quarantined" => Color::Red,
        _ => Color::Yellow,
    }
}

fn tree(frame: &mut Frame<'_>, look: &Look, view: &mut View, area: Rect) {
    let shown = render::tree(&look.actors).to_string();
    let lines: Vec<Line<'_>> = shown
        .lines()
        .enumerate()
        .map(|(number, line)| {
            // The table's head, then one line for each actor; lines of failures are in between.
            let state = look
                .actors
                .iter()
                .map(|actor| actor.state.as_str())
                .find(|state| line.contains(&format!("  {state} ")));
            let style = match (number, state) {
                (0, _) => Style::new().add_modifier(Modifier::BOLD),
                (_, Some(state)) if state != "ready" => Style::new().fg(colour(state)),
                _ => Style::new(),
            };
            Line::from(line.to_owned()).style(style)
        })
        .collect();
    let room = area.height.saturating_sub(2);
    let last = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(room);
    view.scroll = view.scroll.min(last);
    let block = Block::new().borders(Borders::ALL).title(" actors ");
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block).scroll((view.scroll, 0)), area);
}

fn models(frame: &mut Frame<'_>, watched: &Watched, look: &Look, area: Rect) {
    let rows = look.models.iter().map(|model| {
        let state = match model.percent {
            Some(percent) => format!("{} {percent} %", model.state),
            None => model.state.clone(),
        };
        Row::new([
            Cell::from(model.model.clone()),
            Cell::from(state).style(Style::new().fg(colour(&model.state))),
            Cell::from(model.memory_bytes.map_or_else(|| "-".to_owned(), bytes)),
            Cell::from(format!("{}/{}", model.slots_used, model.slots)),
            Cell::from(model.queued.to_string()),
            Cell::from(watched.speed(&model.model).to_string()),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(6),
    ];
    let head = Row::new(["MODEL", "STATE", "MEMORY", "SLOTS", "QUEUE", "TOK/S"])
        .style(Style::new().add_modifier(Modifier::BOLD));
    let block = Block::new().borders(Borders::ALL).title(" models ");
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn speeds(frame: &mut Frame<'_>, watched: &Watched, area: Rect) {
    let areas =
        Layout::vertical(watched.speeds.iter().map(|_| Constraint::Length(CURVE_HEIGHT + 1))).split(area);
    for ((model, history), area) in watched.speeds.iter().zip(areas.iter()) {
        let most = history.iter().max().copied().unwrap_or(0);
        // The newest at the right edge.
        let width = usize::from(area.width);
        let newest: Vec<u64> = history.iter().skip(history.len().saturating_sub(width)).copied().collect();
        let title = format!("{model}: {} tokens/s, most {most}", watched.speed(model));
        let curve = Sparkline::default()
            .block(Block::new().title(title))
            .data(&newest)
            .max(most.max(1))
            .style(Style::new().fg(Color::Cyan));
        frame.render_widget(curve, *area);
    }
}

fn requests(frame: &mut Frame<'_>, look: &Look, area: Rect) {
    let rows = look.requests.iter().map(|request| {
        Row::new([
            Cell::from(
                request.position.map_or_else(|| "runs".to_owned(), |position| format!("waits {position}")),
            ),
            Cell::from(request.tokens.to_string()),
            Cell::from(plain(&request.session).into_owned()),
        ])
    });
    let widths = [Constraint::Length(10), Constraint::Length(7), Constraint::Min(20)];
    let head = Row::new(["PLACE", "TOKENS", "SESSION"]).style(Style::new().add_modifier(Modifier::BOLD));
    let block = Block::new().borders(Borders::ALL).title(" requests ");
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tokio::time::Instant;

    use super::super::watched::tests::look;
    use super::*;

    fn drawn(width: u16, height: u16) -> String {
        let (mut watched, mut view, begun) =
            (Watched::default(), View { scroll: 99, paused: false }, Instant::now());
        for second in 0..30 {
            watched.take(look(begun + Duration::from_secs(second), second * second));
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &watched, &mut view)).unwrap();
        assert_eq!(view.scroll, 0, "there is nothing to scroll to");
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_a_small_screen_and_on_a_wide_one() {
        for (width, height) in [(80, 30), (160, 40)] {
            let screen = drawn(width, height);
            for word in [
                "archond 0.1.0",
                "3 actors  1 running  1 waiting  1 restarts",
                "├─ pool",
                "└─ archons",
                "gemma-4-e4b",
                "57 tokens/s",
                "waits 1",
                "ezra/cli/q/main",
                "q leaves",
            ] {
                assert!(screen.contains(word), "{word} is not on {width} x {height}:\n{screen}");
            }
        }
    }

    #[test]
    fn the_smallest_screen_breaks_nothing() {
        for (width, height) in [(1, 1), (10, 3), (30, 6)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut watched = Watched::default();
            watched.take(look(Instant::now(), 1));
            terminal.draw(|frame| draw(frame, &watched, &mut View::default())).unwrap();
        }
    }
}
