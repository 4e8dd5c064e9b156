//! A plot of one stage: a group of bars for each size and batch, a bar for each backend.

use std::collections::BTreeSet;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::criterion::Point;
use super::milliseconds;
use crate::Failure;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 380;
/// Sizes of text; the library makes letters a fifth smaller.
const TITLE: i32 = 22;
const LABEL: i32 = 16;
/// One for each backend, distinguishable without red and green.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];
/// The part of a group's place that its bars fill.
const FILLED: f64 = 0.8;

/// Milliseconds for each input over size and batch, with the bounds of the median as a line in the bar, as SVG.
pub(super) fn bars(title: &str, points: &[Point]) -> Result<String, Failure> {
    let groups: BTreeSet<(&str, usize)> = points.iter().map(|point| (&*point.size, point.batch)).collect();
    let backends: BTreeSet<&str> = points.iter().map(|point| &*point.backend).collect();
    let top = points.iter().map(|point| each(point, point.bounds.1)).fold(0.0, f64::max)
        * (1.2 + 0.06 * backends.len() as f64);
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", TITLE))
        .margin(10)
        .x_label_area_size(42)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(6)
        .y_max_light_lines(1)
        .label_style(("sans-serif", LABEL))
        .axis_desc_style(("sans-serif", LABEL))
        .y_label_formatter(&|ms| milliseconds(ms / 1e3))
        .y_desc("ms for each input")
        .draw()?;
    let text = |vertical| ("sans-serif", LABEL).into_text_style(&area).pos(Pos::new(HPos::Center, vertical));
    for (at, (size, batch)) in groups.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(at as f64 + 0.5, 0.0));
        area.draw(&Text::new(size.to_string(), (x, y + 6), text(VPos::Top)))?;
        area.draw(&Text::new(format!("batch {batch}"), (x, y + 6 + LABEL), text(VPos::Top)))?;
    }
    let width = FILLED / backends.len() as f64;
    for (at, backend) in backends.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let own: Vec<&Point> = points.iter().filter(|point| point.backend == *backend).collect();
        let middle = |point: &Point| {
            let group = groups.iter().position(|group| *group == (&*point.size, point.batch)).unwrap_or_default();
            group as f64 + (1.0 - FILLED) / 2.0 + (at as f64 + 0.5) * width
        };
        let bars = own.iter().map(|point| {
            let (x, half) = (middle(point), 0.47 * width);
            Rectangle::new([(x - half, 0.0), (x + half, each(point, point.median))], colour.filled())
        });
        let legend = move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled());
        chart.draw_series(bars)?.label(*backend).legend(legend);
        chart.draw_series(own.iter().map(|point| {
            let ends = [point.bounds.0, point.bounds.1].map(|bound| (middle(point), each(point, bound)));
            PathElement::new(ends, BLACK)
        }))?;
        for point in own {
            let (x, y) = chart.backend_coord(&(middle(point), each(point, point.bounds.1)));
            let value = milliseconds(each(point, point.median) / 1e3);
            area.draw(&Text::new(value, (x, y - 3), text(VPos::Bottom)))?;
        }
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", LABEL))
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    drop(chart);
    drop(area);
    Ok(svg)
}

/// Milliseconds for each input of the batch.
fn each(point: &Point, seconds: f64) -> f64 {
    seconds * 1e3 / point.batch as f64
}
