//! A picture of lags: for each direction a line, which says how many probes took how long.
//!
//! Both axes are stretched where it matters: of percentiles each step has a tenth of the probes of the one before, and of
//! times each is ten times longer.

use std::fmt::Write;

use crate::probes::Lags;
use crate::report::percentile;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 520.0;
/// Around the axes: for their labels, and at the right for the directions' names.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 70.0;

/// Colours that can be told apart, also by most who are colour-blind. More directions have dashed lines.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31"];

/// So many directions have their names in the picture.
const NAMES_MAX: usize = 16;

/// Percentiles, and how they are called.
const STEPS: [(f64, &str); 6] = [
    (0.0, "fastest"),
    (0.9, "90%"),
    (0.99, "99%"),
    (0.999, "99.9%"),
    (0.9999, "99.99%"),
    (0.99999, "99.999%"),
];

/// The picture of all directions in which something was measured.
pub(crate) fn svg(directions: &[Lags]) -> String {
    let measured: Vec<&Lags> = directions.iter().filter(|lags| !lags.sorted_ms.is_empty()).collect();
    let scale = Scale::of(&measured);
    let mut out = String::new();
    let lines = [head(), scale.grid()];
    out.extend(lines);
    for (index, lags) in measured.iter().enumerate() {
        out.push_str(&scale.line(index, lags));
        if index < NAMES_MAX {
            out.push_str(&name(index, &lags.name));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn head() -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"30\" font-size=\"17\">Replication lag: from the acknowledgement of a write until it is \
         read at another master</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">part of the writes that took no longer</text>\n\
         <text transform=\"translate(20 {}) rotate(-90)\" text-anchor=\"middle\">lag, milliseconds</text>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 20.0,
        (TOP + HEIGHT - BOTTOM) / 2.0,
    )
}

/// What the axes cover.
struct Scale {
    /// Powers of ten, of milliseconds.
    low: i32,
    high: i32,
    /// Steps of percentiles.
    steps: usize,
}

impl Scale {
    fn of(measured: &[&Lags]) -> Self {
        let all =
            || measured.iter().flat_map(|lags| [lags.sorted_ms.first(), lags.sorted_ms.last()]).flatten();
        let least = all().copied().fold(f64::INFINITY, f64::min).clamp(1e-3, 1e6);
        let most = all().copied().fold(0.0, f64::max).clamp(1e-3, 1e6);
        let low = least.min(most).log10().floor() as i32;
        let high = (most.log10().ceil() as i32).max(low + 1);
        let samples = measured.iter().map(|lags| lags.sorted_ms.len()).max().unwrap_or(0);
        let steps = STEPS.iter().filter(|(part, _)| samples as f64 * (1.0 - part) >= 1.0).count();
        Self { low, high, steps: steps.clamp(2, STEPS.len()) }
    }

    /// Where a part of the probes stands.
    fn x(&self, part: f64) -> f64 {
        let end = self.steps as f64 - 0.5;
        let nines = -(1.0 - part).max(1e-9).log10();
        LEFT + (nines / end).min(1.0) * (WIDTH - RIGHT - LEFT)
    }

    fn y(&self, ms: f64) -> f64 {
        let height = (ms.max(1e-3).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - height.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }

    fn grid(&self) -> String {
        let mut out = String::new();
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (part, label) in STEPS.iter().take(self.steps).chain(&[(0.5, "50%")]) {
            let x = self.x(*part);
            rule(&mut out, [x, TOP, x, bottom], "#dddddd");
            text(&mut out, [x, bottom + 20.0], "middle", label);
        }
        for power in self.low..=self.high {
            let y = self.y(10f64.powi(power));
            rule(&mut out, [LEFT, y, right, y], "#bbbbbb");
            text(&mut out, [LEFT - 8.0, y + 4.0], "end", &milliseconds(power));
            for between in (2..10).filter(|_| power < self.high) {
                let y = self.y(f64::from(between) * 10f64.powi(power));
                rule(&mut out, [LEFT, y, right, y], "#eeeeee");
            }
        }
        out
    }

    fn line(&self, index: usize, lags: &Lags) -> String {
        let mut points = String::new();
        let end = self.steps as f64 - 0.5;
        let count = lags.sorted_ms.len() as f64;
        // Up to the last probe; beyond that nothing was measured.
        for step in 0..=400 {
            let part = 1.0 - 10f64.powf(-end * f64::from(step) / 400.0);
            if part <= 1.0 - 1.0 / count
                && let Some(ms) = percentile(&lags.sorted_ms, part)
            {
                let _ = write!(points, "{:.1},{:.1} ", self.x(part), self.y(ms));
            }
        }
        if let Some(ms) = lags.sorted_ms.last() {
            let _ = write!(points, "{:.1},{:.1}", self.x(1.0 - 1.0 / count), self.y(*ms));
        }
        let (colour, dashes) = stroke(index);
        format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n"
        )
    }
}

fn milliseconds(power: i32) -> String {
    format!("{:.*} ms", usize::try_from(-power).unwrap_or(0), 10f64.powi(power))
}

fn stroke(index: usize) -> (&'static str, &'static str) {
    let dashes = if index / COLOURS.len() % 2 == 1 { " stroke-dasharray=\"6 4\"" } else { "" };
    (COLOURS[index % COLOURS.len()], dashes)
}

/// A direction's name, beside a piece of its line.
fn name(index: usize, name: &str) -> String {
    let y = TOP + 18.0 + 18.0 * index as f64;
    let (colour, dashes) = stroke(index);
    let mut out = format!(
        "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n",
        LEFT + 14.0,
        y - 4.0,
        LEFT + 44.0,
        y - 4.0
    );
    text(&mut out, [LEFT + 52.0, y], "start", name);
    out
}

fn rule(out: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(out: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lags(name: &str, sorted_ms: Vec<f64>) -> Lags {
        Lags { name: name.into(), sorted_ms, lost: 0, error: None }
    }

    #[test]
    fn each_direction_with_something_measured_has_a_line_and_a_name() {
        let measured = (1..2_000).map(|n| f64::from(n) / 100.0).collect();
        let picture = svg(&[lags("a -> b", measured), lags("b -> a", vec![0.2]), lags("c -> a", vec![])]);
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(picture.contains("a -&gt; b") && picture.contains("b -&gt; a") && !picture.contains("c -"));
        for label in ["0.1 ms", "10 ms", "100 ms", "50%", "99.9%"] {
            assert!(picture.contains(&format!(">{label}<")), "{label}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    #[test]
    fn nothing_measured_is_a_picture_without_lines() {
        let picture = svg(&[]);
        assert!(picture.ends_with("</svg>\n") && !picture.contains("polyline") && !picture.contains("NaN"));
    }
}
