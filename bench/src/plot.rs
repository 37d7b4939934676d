//! A group as a plain SVG: a bar for each median, a line from minimum to
//! maximum.

use std::fmt::Write as _;

use crate::measure::{Entry, Group, OURS};

const WIDTH: f64 = 760.0;
/// Where the bars begin: names stand left of it.
const LEFT: f64 = 130.0;
/// What a full bar takes; numbers stand right of it.
const SPAN: f64 = 440.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// The whole picture.
pub(crate) fn svg(group: &Group) -> String {
    let mut body = String::new();
    let mut y = 14.0;
    for row in &group.rows {
        y += 16.0;
        text(&mut body, 8.0, y, "title", &row.title);
        y += 10.0;
        // A long whisker may leave the picture; the medians never do.
        let most = row.entries.iter().map(Entry::median).fold(0.0, f64::max);
        let scale = if most > 0.0 { SPAN / most } else { 0.0 };
        for entry in &row.entries {
            let class = if entry.who == OURS { "ours" } else { "peer" };
            let middle = y + BAR / 2.0;
            text(&mut body, 8.0, middle + 4.0, "name", &entry.who);
            let length = (entry.median() * scale).max(1.0);
            write_to(
                &mut body,
                format_args!(
                    "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\"/>\n"
                ),
            );
            let from = LEFT + entry.quantile(0.0) * scale;
            let to = LEFT + (entry.quantile(1.0) * scale).min(SPAN + 40.0);
            write_to(
                &mut body,
                format_args!(
                    "<line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\"/>\n"
                ),
            );
            let number = row.unit.show(entry.median());
            text(
                &mut body,
                to.max(LEFT + length) + 8.0,
                middle + 4.0,
                "name",
                &number,
            );
            y += STEP;
        }
        y += 8.0;
    }
    let height = y + 6.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\">\n\
         <style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-weight: bold }} \
         .ours {{ fill: #2a7ab9 }} .peer {{ fill: #b8c4ce }} line {{ stroke: #222; stroke-width: 1 }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn text(body: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    write_to(
        body,
        format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>\n"),
    );
}

fn write_to(body: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    body.write_fmt(what).ok();
}
