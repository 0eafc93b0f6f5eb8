//! Columns and lines over an x axis.

use maud::{Markup, html};

use super::{Width, colour, px, text};
use crate::format::{format_float, format_short};
use crate::plot::{Series, SeriesChart};

const FONT: f64 = 12.0;
/// Height of the x axis with its names.
const X_AXIS: f64 = 24.0;
/// Above the plot: room for the value of the highest column.
const HEAD: f64 = 16.0;
/// Points up to which a line has markers, and values.
const MAX_MARKERS: usize = 40;
const MAX_VALUES: usize = 12;

/// The plot area and the scale of the values.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    low: f64,
    high: f64,
    ticks: Vec<f64>,
}

impl Frame {
    /// The frame for values from `low` to `high`. Columns begin at 0; so does a line, unless its values are far from it.
    fn new(low: f64, high: f64, width: Width) -> Frame {
        let ticks = ticks(low, high);
        let (low, high) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
        let labels = ticks.iter().map(|tick| text::width(&format_short(*tick), FONT)).fold(0.0, f64::max);
        let height = if width == Width::Wide { 270.0 } else { 220.0 };
        let (left, right) = (labels + 8.0, width.pixels() - 6.0);
        Frame { left, right, top: HEAD, bottom: height - X_AXIS, low, high, ticks }
    }

    fn height(&self) -> f64 {
        self.bottom + X_AXIS
    }

    fn y(&self, value: f64) -> f64 {
        // Halves, because the difference of two large numbers may be infinite.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        self.bottom - share * (self.bottom - self.top)
    }

    /// Grid lines with their values.
    fn draw(&self) -> Markup {
        html! {
            @for tick in &self.ticks {
                @let y = self.y(*tick);
                line.grid.zero[*tick == 0.0] x1=(px(self.left)) x2=(px(self.right)) y1=(px(y)) y2=(px(y)) {}
                text.muted x=(px(self.left - 6.0)) y=(px(y + FONT * 0.35)) text-anchor="end" font-size=(FONT) {
                    (format_short(*tick))
                }
            }
        }
    }

    /// Names below the plot, as many as fit without touching.
    fn draw_names(&self, names: &[String], places: &[f64], band: f64) -> Markup {
        let widest = names.iter().map(|name| text::width(name, FONT)).fold(0.0, f64::max);
        // Names that are a little too wide are shortened; else every second, third, ... is written.
        let room = if widest > band - 6.0 && widest <= band * 1.6 { band - 6.0 } else { widest };
        let mut end = f64::MIN;
        let mut shown = Vec::new();
        for (name, place) in names.iter().zip(places) {
            let name = text::fit(name, FONT, room.clamp(24.0, 132.0));
            let half = text::width(&name, FONT) / 2.0;
            let centre = place.max(half).min(self.right + 6.0 - half);
            if centre - half >= end {
                end = centre + half + 8.0;
                shown.push((name, centre));
            }
        }
        html! {
            @for (name, centre) in shown {
                text.muted x=(px(centre)) y=(px(self.bottom + 16.0)) text-anchor="middle" font-size=(FONT) { (name) }
            }
        }
    }
}

/// Round values from below `low` to above `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high / 4.0 - low / 4.0;
    if !(span.is_finite() && span > 0.0) {
        return vec![0.0, 1.0];
    }
    let power = 10_f64.powf(span.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|factor| factor * power).find(|step| *step >= span * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let is_finite = (first * step).is_finite() && (last * step).is_finite();
    if !(step > 0.0 && is_finite && (last - first).abs() < 20.0) {
        return vec![low, high];
    }
    (0..=(last - first) as u32).map(|index| (first + f64::from(index)) * step).collect()
}

fn tooltip(chart: &SeriesChart, series: &Series, index: usize, value: f64) -> String {
    let value = format_float(value);
    match chart.series.len() {
        1 => format!("{}: {value}", chart.names[index]),
        _ => format!("{}, {}: {value}", chart.names[index], series.name),
    }
}

/// Returns the height and the content.
pub(super) fn draw_columns(chart: &SeriesChart, is_stacked: bool, width: Width) -> (f64, Markup) {
    let values = |index: usize| chart.series.iter().filter_map(move |series| series.values[index]);
    let sum = |index: usize, is_wanted: fn(&f64) -> bool| values(index).filter(is_wanted).sum::<f64>();
    let positions = 0..chart.names.len();
    let (low, high) = if is_stacked {
        let low = positions.clone().map(|index| sum(index, |value| *value < 0.0)).fold(0.0, f64::min);
        (low, positions.clone().map(|index| sum(index, |value| *value > 0.0)).fold(0.0, f64::max))
    } else {
        let all = || positions.clone().flat_map(values);
        (all().fold(0.0, f64::min), all().fold(0.0, f64::max))
    };
    let frame = Frame::new(low, high, width);
    let band = (frame.right - frame.left) / chart.names.len() as f64;
    let centre = |index: usize| frame.left + band * (index as f64 + 0.5);
    let group = (band * 0.8).min(if is_stacked || chart.series.len() == 1 {
        64.0
    } else {
        48.0 * chart.series.len() as f64
    });
    let column = if is_stacked { group } else { group / chart.series.len() as f64 };
    let labels = if is_stacked {
        ValueLabels::new(positions.clone().map(|index| sum(index, |value| *value > 0.0)), band - 6.0)
    } else {
        ValueLabels::new(positions.clone().flat_map(values), column - 2.0)
    };
    let content = html! {
        (frame.draw())
        @for index in positions {
            @if is_stacked {
                (draw_stack(chart, index, &frame, (centre(index) - group / 2.0, group), labels))
            } @else {
                @for (number, series) in chart.series.iter().enumerate() {
                    @if let Some(value) = series.values[index] {
                        @let left = centre(index) - group / 2.0 + column * number as f64;
                        @let inner = (column - 1.5).max(1.0);
                        (draw_column(&frame, left, inner, (0.0, value), colour(number, false), &tooltip(chart, series, index, value)))
                        (labels.draw(&frame, left + inner / 2.0, value))
                    }
                }
            }
        }
        (frame.draw_names(&chart.names, &(0..chart.names.len()).map(centre).collect::<Vec<_>>(), band))
    };
    (frame.height(), content)
}

/// The columns of one position, with their total.
fn draw_stack(
    chart: &SeriesChart,
    index: usize,
    frame: &Frame,
    (left, width): (f64, f64),
    labels: ValueLabels,
) -> Markup {
    let (mut above, mut below) = (0.0, 0.0);
    let mut parts = Vec::new();
    for (number, series) in chart.series.iter().enumerate() {
        let Some(value) = series.values[index] else { continue };
        let base = if value < 0.0 { &mut below } else { &mut above };
        parts.push((number, series, (*base, *base + value), value));
        *base += value;
    }
    html! {
        @for (number, series, ends, value) in parts {
            (draw_column(frame, left, width, ends, colour(number, series.is_rest), &tooltip(chart, series, index, value)))
        }
        @if below == 0.0 { (labels.draw(frame, left + width / 2.0, above)) }
    }
}

fn draw_column(frame: &Frame, left: f64, width: f64, ends: (f64, f64), class: &str, tooltip: &str) -> Markup {
    let (start, end) = (frame.y(ends.0), frame.y(ends.1));
    let height = (start - end).abs().max(0.75);
    html! {
        rect.column.(class) x=(px(left)) y=(px(start.min(end))) width=(px(width)) height=(px(height)) {
            title { (tooltip) }
        }
    }
}

/// How the values of a chart are written: all in full, all short, or not at all, whatever fits.
#[derive(Clone, Copy)]
struct ValueLabels(Option<fn(f64) -> String>);

impl ValueLabels {
    const SIZE: f64 = FONT - 1.0;

    fn new(values: impl Iterator<Item = f64> + Clone, room: f64) -> ValueLabels {
        let formats: [fn(f64) -> String; 2] = [format_float, format_short];
        let fits = |format: &fn(f64) -> String| {
            values.clone().all(|value| text::bold_width(&format(value), Self::SIZE) <= room)
        };
        ValueLabels(formats.into_iter().find(fits))
    }

    /// The width of the widest value.
    fn widest(self, values: impl Iterator<Item = f64>) -> f64 {
        let Some(format) = self.0 else { return 0.0 };
        values.map(|value| text::bold_width(&format(value), Self::SIZE)).fold(0.0, f64::max)
    }

    /// The value above a point, or below a negative one.
    fn draw(self, frame: &Frame, centre: f64, value: f64) -> Markup {
        let y = if value < 0.0 { frame.y(value) + Self::SIZE + 2.0 } else { frame.y(value) - 5.0 };
        html! {
            @if let Some(format) = self.0 {
                text.strong x=(px(centre)) y=(px(y)) text-anchor="middle" font-size=(Self::SIZE) { (format(value)) }
            }
        }
    }
}

/// Returns the height and the content.
pub(super) fn draw_lines(chart: &SeriesChart, width: Width) -> (f64, Markup) {
    let all = || chart.series.iter().flat_map(|series| series.values.iter().flatten().copied());
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    // Values that hardly differ would be a straight line at the top.
    let from_zero = high / 2.0 - low / 2.0 > high.abs().max(low.abs()) * 0.025;
    let frame = if from_zero || low == high {
        Frame::new(low.min(0.0), high.max(0.0), width)
    } else {
        Frame::new(low, high, width)
    };
    let first = chart.places.first().copied().unwrap_or(0.0);
    let last = chart.places.last().copied().unwrap_or(1.0);
    let span = if last > first { last - first } else { 1.0 };
    let band = (frame.right - frame.left) / chart.names.len() as f64;
    let has_markers = chart.names.len() <= MAX_MARKERS;
    let has_values = chart.series.len() == 1 && chart.names.len() <= MAX_VALUES;
    let labels = ValueLabels::new(all(), band - 4.0);
    // The values of the first and the last point stay inside.
    let widest = if has_values { labels.widest(all()) } else { 0.0 };
    let pad = (widest / 2.0).max(14.0);
    let x = |place: f64| frame.left + pad + (place - first) / span * (frame.right - frame.left - 2.0 * pad);
    let places: Vec<f64> = chart.places.iter().map(|place| x(*place)).collect();
    // Times may be close to each other.
    let has_values = has_values && places.windows(2).all(|pair| pair[1] - pair[0] >= widest + 2.0);
    let content = html! {
        (frame.draw())
        @for (number, series) in chart.series.iter().enumerate() {
            @for points in segments(series, &places, &frame) {
                polyline.line.(colour(number, series.is_rest)) points=(points) {}
            }
            @for (index, value) in series.values.iter().enumerate() {
                @if let Some(value) = *value {
                    @let is_alone = is_alone(series, index);
                    @if has_markers || is_alone {
                        circle.(colour(number, series.is_rest)) cx=(px(places[index])) cy=(px(frame.y(value))) r="3.2" {
                            title { (tooltip(chart, series, index, value)) }
                        }
                    }
                    @if has_values { (labels.draw(&frame, places[index], value)) }
                }
            }
        }
        (frame.draw_names(&chart.names, &places, band))
    };
    (frame.height(), content)
}

/// The parts of a line between missing values.
fn segments(series: &Series, places: &[f64], frame: &Frame) -> Vec<String> {
    let mut segments = vec![Vec::new()];
    for (value, place) in series.values.iter().zip(places) {
        match (value, segments.last_mut()) {
            (Some(value), Some(points)) => points.push(format!("{},{}", px(*place), px(frame.y(*value)))),
            _ => segments.push(Vec::new()),
        }
    }
    segments.into_iter().filter(|points| points.len() > 1).map(|points| points.join(" ")).collect()
}

/// Whether a value has no neighbour that a line connects it with.
fn is_alone(series: &Series, index: usize) -> bool {
    let is_missing =
        |index: Option<usize>| index.and_then(|index| series.values.get(index)?.as_ref()).is_none();
    is_missing(index.checked_sub(1)) && is_missing(Some(index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks(0.0, 2602.0), [0.0, 1000.0, 2000.0, 3000.0]);
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(ticks(-3.0, 8.0), [-5.0, 0.0, 5.0, 10.0]);
        assert_eq!(ticks(0.0, 0.0), [0.0, 1.0]);
        assert!(ticks(0.0, f64::MAX).iter().all(|tick| tick.is_finite()));
        assert!(ticks(5e-324, 1e-323).len() < 22);
    }
}
