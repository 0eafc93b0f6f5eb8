//! Horizontal bars with their names and values. Wide: names left of the bars; narrow: above them.

use maud::{Markup, html};

use super::{Width, px, text};
use crate::format::{format_float, show_controls};
use crate::plot::Bar;

const FONT: f64 = 13.0;
const GAP: f64 = 8.0;
const TOP: f64 = 2.0;
/// Height of a chart, if its bars are neither too thin nor too thick.
const HEIGHT: f64 = 240.0;

/// Returns the height and the content.
pub(super) fn draw(bars: &[Bar], width: Width) -> (f64, Markup) {
    match width {
        Width::Wide => draw_wide(bars),
        Width::Narrow => draw_narrow(bars),
    }
}

/// From the value to a place on the axis, which contains 0.
struct Scale {
    low: f64,
    high: f64,
    start: f64,
    length: f64,
}

impl Scale {
    fn new(bars: &[Bar], start: f64, length: f64) -> Scale {
        let low = bars.iter().map(|bar| bar.value).fold(0.0, f64::min);
        let high = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        let high = if high > low { high } else { 1.0 };
        Scale { low, high, start, length }
    }

    fn place(&self, value: f64) -> f64 {
        // Halves, because the difference of two large numbers may be infinite.
        self.start + (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0) * self.length
    }

    /// The left end and the length of a bar, which is always visible.
    fn bar(&self, value: f64) -> (f64, f64) {
        let (zero, end) = (self.place(0.0), self.place(value));
        let length = (end - zero).abs().max(1.5);
        (if value < 0.0 { zero - length } else { zero }, length)
    }
}

fn tooltip(bar: &Bar) -> String {
    let value = format_float(bar.value);
    match &bar.label {
        Some(label) => format!("{}: {value}, {label}", bar.name),
        None => format!("{}: {value}", bar.name),
    }
}

fn draw_wide(bars: &[Bar]) -> (f64, Markup) {
    // Few bars are thicker, so that panels beside each other have a similar height.
    let row = (HEIGHT / bars.len() as f64).clamp(26.0, 40.0);
    let total = Width::Wide.pixels();
    let names = bars.iter().map(|bar| text::width(&bar.name, FONT)).fold(0.0, f64::max).min(total * 0.3);
    let values = bars.iter().map(|bar| text::bold_width(&format_float(bar.value), FONT)).fold(0.0, f64::max);
    let labels = bars.iter().filter_map(|bar| bar.label.as_deref());
    let labels = labels.map(|label| text::width(label, FONT) + GAP).fold(0.0, f64::max).min(total * 0.32);
    let start = names + GAP;
    let scale = Scale::new(bars, start, (total - start - values - labels - GAP).max(60.0));
    let content = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let y = TOP + row * index as f64;
            @let base = px(y + row / 2.0 + FONT * 0.35);
            @let (left, length) = scale.bar(bar.value);
            @let after = (left + length).max(scale.place(0.0)) + GAP * 0.75;
            @let value = format_float(bar.value);
            g {
                title { (tooltip(bar)) }
                text x=(px(names)) y=(base) text-anchor="end" font-size=(FONT) { (text::fit(&bar.name, FONT, names)) }
                rect.s1 x=(px(left)) y=(px(y + 4.0)) width=(px(length)) height=(px(row - 8.0)) rx="2" {}
                text.strong x=(px(after)) y=(base) font-size=(FONT) { (value) }
                @if let Some(label) = &bar.label {
                    @let x = after + text::bold_width(&value, FONT) + GAP;
                    text.muted x=(px(x)) y=(base) font-size=(FONT) {
                        (text::fit(&show_controls(label), FONT, total - x))
                    }
                }
            }
        }
    };
    (TOP * 2.0 + row * bars.len() as f64, content)
}

fn draw_narrow(bars: &[Bar]) -> (f64, Markup) {
    let row = 36.0;
    let total = Width::Narrow.pixels();
    let scale = Scale::new(bars, 0.0, total);
    let content = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let y = TOP + row * index as f64;
            @let base = px(y + FONT);
            @let (left, length) = scale.bar(bar.value);
            @let value = format_float(bar.value);
            @let room = total - text::bold_width(&value, FONT) - GAP;
            @let name = text::fit(&bar.name, FONT, room);
            @let used = text::width(&name, FONT) + GAP;
            g {
                title { (tooltip(bar)) }
                text x="0" y=(base) font-size=(FONT) { (name) }
                @if let (Some(label), true) = (&bar.label, room - used > 30.0) {
                    text.muted x=(px(used)) y=(base) font-size=(FONT) {
                        (text::fit(&show_controls(label), FONT, room - used))
                    }
                }
                text.strong x=(px(total)) y=(base) text-anchor="end" font-size=(FONT) { (value) }
                rect.track x="0" y=(px(y + 18.0)) width=(px(total)) height="8" rx="2" {}
                rect.s1 x=(px(left)) y=(px(y + 18.0)) width=(px(length)) height="8" rx="2" {}
            }
        }
    };
    (TOP + row * bars.len() as f64, content)
}
