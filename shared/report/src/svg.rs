//! Draws a plot as SVG, in a width for narrow and one for wide places: text in a chart that is only scaled would become
//! too small or too large. `page.css` shows the one that fits, and has the colours of the classes.

mod bars;
mod series;
mod text;

use maud::{Markup, html};

use crate::plot::{Chart, Plot, SeriesChart};

/// A width to draw for, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Narrow,
    Wide,
}

impl Width {
    fn pixels(self) -> f64 {
        match self {
            Width::Narrow => 340.0,
            Width::Wide => 640.0,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Width::Narrow => "narrow",
            Width::Wide => "wide",
        }
    }
}

/// The chart of a panel. `id` is unique in the page, `title` says what the chart shows.
pub(crate) fn draw(chart: &Chart, id: &str, title: &str) -> Markup {
    html! {
        @match &chart.plot {
            Plot::None => {}
            Plot::Figures(figures) => {
                div.figures {
                    @for figure in figures {
                        div.figure {
                            p.value.long[figure.value.chars().count() > 16] { (figure.value) }
                            p.caption { (figure.caption) }
                        }
                    }
                }
            }
            plot => {
                p.measure { (chart.measure) }
                @if let Plot::Columns { chart, .. } | Plot::Lines(chart) = plot { (legend(chart)) }
                div.chart {
                    // Without styles, as in some mail programs, only the wide one is shown.
                    div.narrow hidden { (draw_in(plot, chart, Width::Narrow, id, title)) }
                    div.wide { (draw_in(plot, chart, Width::Wide, id, title)) }
                }
            }
        }
    }
}

fn draw_in(plot: &Plot, chart: &Chart, width: Width, id: &str, title: &str) -> Markup {
    let (height, content) = match plot {
        Plot::Bars(bars) => bars::draw(bars, width),
        Plot::Columns { is_stacked, chart: data } => series::draw_columns(data, *is_stacked, width),
        Plot::Lines(data) => series::draw_lines(data, width),
        Plot::None | Plot::Figures(_) => return html! {},
    };
    let id = format!("{id}-{}", width.word());
    let view = format!("0 0 {} {}", px(width.pixels()), px(height));
    html! {
        svg viewBox=(view) role="img" aria-labelledby={ (id) "-t " (id) "-d" } xmlns="http://www.w3.org/2000/svg" {
            title id={ (id) "-t" } { (title) }
            desc id={ (id) "-d" } { (chart.summary) }
            (content)
        }
    }
}

/// The names of the colours, above the chart.
fn legend(chart: &SeriesChart) -> Markup {
    html! {
        @if chart.series.len() > 1 {
            ul.legend {
                @for (index, series) in chart.series.iter().enumerate() {
                    li {
                        svg.swatch viewBox="0 0 10 10" aria-hidden="true" {
                            rect.(colour(index, series.is_rest)) width="10" height="10" rx="2" {}
                        }
                        (series.name)
                    }
                }
            }
        }
    }
}

/// The class of a series.
fn colour(index: usize, is_rest: bool) -> &'static str {
    const CLASSES: [&str; crate::plot::MAX_SERIES] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    if is_rest { "s0" } else { CLASSES.get(index).copied().unwrap_or("s0") }
}

/// A coordinate with one digit after the point.
fn px(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // Not -0.
    format!("{}", rounded + 0.0)
}

#[cfg(test)]
mod tests;
