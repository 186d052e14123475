//! The picture of a plan: four small diagrams over the number of producers.

use plotters::prelude::*;
use quorate_simulator::whatif::Prediction;

const SIZE: (u32, u32) = (1100, 900);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(23, 190, 207),
];

/// A curve: what it shows, and its points.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
    /// Drawn thinner than its companion.
    thin: bool,
}

/// A figure of a prediction.
type Figure = fn(&Prediction) -> Option<f64>;

/// Draws predictions as an SVG document.
pub fn draw(predictions: &[Prediction], headline: &str) -> String {
    let mut svg = String::new();
    // Writing into a string does not fail, and the drawing's figures are checked below.
    if let Err(error) = try_draw(&mut svg, predictions, headline) {
        unreachable!("a drawing into memory failed: {error}");
    }
    svg
}

type Failed<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn try_draw<'a>(
    svg: &'a mut String,
    predictions: &[Prediction],
    headline: &str,
) -> Result<(), Failed<'a>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(headline, ("sans-serif", 18))?;
    let areas = root.split_evenly((2, 2));
    let loads = loads(predictions);
    let one = |name: &str, figure: Figure| curves(predictions, &loads, &[(name, figure)]);
    let throughput = one("", |p| Some(p.trx_per_second));
    diagram(&areas[0], "throughput", "trx/s", &throughput)?;
    let latency = curves(
        predictions,
        &loads,
        &[("p50", |p| Some(p.latency_p50_ms)), ("p99", |p| Some(p.latency_p99_ms))],
    );
    diagram(&areas[1], "latency from post to block", "ms", &latency)?;
    let sent = one("", |p| Some(p.sent_mbit));
    diagram(&areas[2], "sent by each node, mean", "Mbit/s", &sent)?;
    let recovery = curves(
        predictions,
        &loads,
        &[
            ("catch-up of the node", |p| p.recovery.map(|r| r.catch_up_ms)),
            ("gap between blocks", |p| p.recovery.map(|r| r.gap_ms)),
        ],
    );
    diagram(&areas[3], "a node crashes and comes back", "ms", &recovery)?;
    root.present()
}

/// The loads in the order they were asked for.
fn loads(predictions: &[Prediction]) -> Vec<(Option<usize>, Option<u64>)> {
    let mut loads = Vec::new();
    for p in predictions {
        if !loads.contains(&(p.under_way, p.rate)) {
            loads.push((p.under_way, p.rate));
        }
    }
    loads
}

fn curves(
    predictions: &[Prediction],
    loads: &[(Option<usize>, Option<u64>)],
    figures: &[(&str, Figure)],
) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (under_way, rate) in loads {
        let of = match (under_way, rate) {
            (Some(count), _) => format!("{count} under way"),
            (None, rate) => format!("{} posts/s", rate.unwrap_or(0)),
        };
        for (place, (name, figure)) in figures.iter().enumerate() {
            let mine = predictions.iter().filter(|p| (p.under_way, p.rate) == (*under_way, *rate));
            let mut points: Vec<(f64, f64)> =
                mine.filter_map(|p| Some((p.nodes as f64, figure(p)?))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let name = if name.is_empty() { of.clone() } else { format!("{name}, {of}") };
            curves.push(Curve { name, points, thin: place > 0 });
        }
    }
    curves
}

/// One diagram: producers across, a figure up, both logarithmic.
fn diagram<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    title: &str,
    unit: &str,
    curves: &[Curve],
) -> Result<(), Failed<'a>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (low, high) = range(points().map(|point| point.1));
    let (few, many) = points()
        .fold((f64::MAX, f64::MIN), |(few, many), point| (few.min(point.0), many.max(point.0)));
    let (few, many) = if few > many { (1.0, 10.0) } else { (few * 0.9, many * 1.1) };
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(title, ("sans-serif", 16))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((few..many).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("producers")
        .y_desc(unit)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if *y < 10.0 { format!("{y}") } else { format!("{y:.0}") })
        .light_line_style(RGBColor(235, 235, 235))
        .draw()?;
    let pairs = curves.iter().filter(|curve| curve.thin).count() > 0;
    for (place, curve) in curves.iter().enumerate() {
        let colour = COLOURS[if pairs { place / 2 } else { place } % COLOURS.len()];
        let style =
            if curve.thin { colour.mix(0.55).stroke_width(1) } else { colour.stroke_width(2) };
        let points = curve.points.iter().map(|(x, y)| (*x, y.max(low)));
        chart
            .draw_series(LineSeries::new(points.clone(), style))?
            .label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(points.map(|point| Circle::new(point, 3, style.color.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
}

/// Whole powers of ten around some figures.
fn range(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for figure in figures.filter(|figure| *figure > 0.0) {
        low = low.min(figure);
        high = high.max(figure);
    }
    if low > high {
        return (1.0, 10.0);
    }
    let low = 10f64.powf(low.log10().floor());
    // Room for the legend.
    let high = 10f64.powf((high * 3.0).log10().ceil());
    (low, high.max(low * 10.0))
}

#[cfg(test)]
mod tests {
    use quorate_simulator::whatif::{Prediction, Recovery};

    use super::{draw, range};

    fn prediction(nodes: usize, under_way: usize) -> Prediction {
        Prediction {
            nodes,
            tolerated: (nodes - 1) / 3,
            under_way: Some(under_way),
            rate: None,
            blocks: 3,
            seconds: 2.0,
            trx_per_second: 30_000.0 / nodes as f64,
            trx_per_block: 100.0,
            block_ms: 500.0,
            latency_p50_ms: 300.0,
            latency_p99_ms: 900.0,
            sent_mbit: nodes as f64,
            sent_mbit_most: nodes as f64,
            handed_mbit: 10.0,
            busy_percent: 10.0,
            threads: Vec::new(),
            refused: 0,
            recovery: Some(Recovery { down_ms: 3e3, gap_ms: 500.0, catch_up_ms: 40.0 }),
        }
    }

    #[test]
    fn the_picture_is_well_formed_and_names_its_axes() {
        let all: Vec<Prediction> =
            [4, 7, 16].into_iter().flat_map(|n| [prediction(n, 100), prediction(n, 900)]).collect();
        for some in [&all[..], &all[..1], &[]] {
            let svg = draw(some, "a < b & \"c\"");
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
            assert!(svg.contains("a &lt; b &amp; "), "what is no markup is escaped");
            for text in ["producers", "trx/s", "Mbit/s", "throughput"] {
                assert!(svg.contains(text), "{text}");
            }
        }
        let svg = draw(&all, "plan");
        assert!(svg.contains("900 under way") && svg.contains("p99, 100 under way"));
        let open = svg.matches('<').count();
        assert_eq!(open, svg.matches('>').count());
    }

    #[test]
    fn an_axis_goes_from_power_to_power_of_ten() {
        assert_eq!(range([20.0, 200.0].into_iter()), (10.0, 1_000.0));
        assert_eq!(range([0.0].into_iter()), (1.0, 10.0));
        assert_eq!(range(std::iter::empty()), (1.0, 10.0));
    }
}
