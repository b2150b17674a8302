//! A run as one HTML page.

use std::path::{Path, PathBuf};

use crate::chart::{Axis, COLOURS, Chart, Series, count, grouped, span, thinned};
use crate::page::Page;
use crate::{RunRecord, StepLine, TrainError};

/// Points of a curve.
const MOST: usize = 600;

/// Writes what a run has been so far to `report.html` in its directory: losses, learning rate, gradient norm, speed and,
/// where the device's peak is known, MFU. `None` where it has not made a step yet.
///
/// # Errors
/// Those of [`RunRecord::read`]; [`TrainError::File`] if the page cannot be written.
pub fn write_report(dir: impl AsRef<Path>, out: Option<&Path>) -> Result<Option<PathBuf>, TrainError> {
    let record = RunRecord::read(&dir)?;
    if record.history.steps.is_empty() {
        return Ok(None);
    }
    let path = out.map_or_else(|| dir.as_ref().join("report.html"), Path::to_path_buf);
    page(&record, &path)?.write(&path)?;
    Ok(Some(path))
}

fn page(record: &RunRecord, path: &Path) -> Result<Page, TrainError> {
    let mut page = Page::new(&record.name());
    page.facts(facts(record));
    let drawn: Result<Vec<_>, _> = charts(record).iter().map(Chart::svg).collect();
    let drawn = drawn.map_err(|reason| TrainError::Plot { path: path.into(), reason })?;
    page.charts(drawn.into_iter().flatten());
    page.paragraph("The smoothed loss counts older losses less and less. Pale areas reach from the smallest to the largest of the steps that a point stands for.");
    if let Some(config) = &record.config {
        page.folded("config.toml", config);
    }
    if let Some(about) = &record.about {
        page.folded("run.json", &serde_json::to_string_pretty(about).unwrap_or_default());
    }
    Ok(page)
}

/// What is told in numbers.
fn facts(record: &RunRecord) -> Vec<(&'static str, String)> {
    let history = &record.history;
    let mut facts = Vec::new();
    if let Some(about) = &record.about {
        let count = about.parameters;
        facts.push((
            "parameters",
            format!(
                "{} (backbone {}, context {})",
                grouped(count.total as u64),
                grouped(count.backbone as u64),
                grouped(count.context as u64)
            ),
        ));
        let flops = about.training_flops_per_token.map_or("unknown".into(), |flops| format!("{:.4e}", flops as f64));
        facts.push(("FLOPs a token, forward and backward", flops));
        if let Some(session) = about.sessions.last() {
            let hardware = session.hardware.as_ref().map_or(String::new(), |name| format!(", {name}"));
            facts.push(("device", session.device.clone() + &hardware));
        }
    }
    if let Some(last) = history.steps.last() {
        let skipped = history.steps.iter().filter(|step| step.metrics.skipped).count();
        let skipped = if skipped > 0 { format!(", of which {skipped} skipped") } else { String::new() };
        facts.push(("steps", format!("{}{skipped}", grouped(last.metrics.step as u64))));
        facts.push(("tokens", grouped(last.metrics.tokens)));
        let loss = last.smoothed_loss.map_or(last.metrics.loss, f64::from);
        facts.push(("training loss, smoothed, at the end", format!("{loss:.4}")));
    }
    if let Some(last) = history.valid.last() {
        facts.push(("validation loss at the end", format!("{:.4}", last.valid_loss)));
    }
    if let Some(best) = history.best() {
        facts.push(("lowest validation loss", format!("{:.4} at step {}", best.valid_loss, best.step)));
    }
    if let Some(speed) = median(history.steps.iter().map(|step| step.metrics.tokens_per_second)) {
        facts.push(("tokens a second, median", grouped(speed as u64)));
    }
    let mfu = median(history.steps.iter().filter_map(|step| step.mfu));
    facts.push(("MFU, median", mfu.map_or("n/a".into(), |mfu| format!("{:.1} %", 100.0 * mfu))));
    facts
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn charts(record: &RunRecord) -> Vec<Chart> {
    let steps = &record.history.steps;
    let small = |title: &str, label: &str, format, of: &dyn Fn(&StepLine) -> f64| {
        let points: Vec<_> = steps.iter().map(|line| (line.metrics.step as f64, of(line))).collect();
        let (line, band) = thinned(&points, MOST);
        // A single spike would press all the rest flat.
        let mut highest: Vec<f64> = band.iter().map(|band| band.2).collect();
        highest.sort_by(f64::total_cmp);
        let usual = highest.get(highest.len() * 98 / 100).map_or(f64::INFINITY, |usual| 2.0 * usual);
        let ends = band.iter().flat_map(|&(_, low, high)| [low, high.min(usual)]);
        let range = span(ends.chain([0.0]), 1e-12);
        let y = Axis { label: label.into(), range: 0.0..range.end, format };
        let series = vec![Series { colour: COLOURS[0], line, band, ..Series::default() }];
        Chart { title: title.into(), size: (500, 300), x: over_steps(steps), y, series }
    };
    let mut charts = vec![
        losses(record),
        small("Learning rate", "", |rate| if rate == 0.0 { "0".into() } else { format!("{rate:.1e}") }, &|line| {
            line.metrics.lr
        }),
        small("Gradient norm before clipping", "", count, &|line| line.metrics.grad_norm),
        small("Speed", "tokens a second", count, &|line| line.metrics.tokens_per_second),
    ];
    if steps.iter().any(|line| line.mfu.is_some()) {
        let share = |mfu: f64| format!("{:.0} %", 100.0 * mfu);
        charts.push(small("Model FLOPs utilisation", "", share, &|line| line.mfu.unwrap_or(f64::NAN)));
    }
    charts
}

fn over_steps(steps: &[StepLine]) -> Axis {
    let last = steps.last().map_or(0, |line| line.metrics.step);
    Axis { label: "step".into(), range: 0.0..last as f64 + 1e-9, format: count }
}

fn losses(record: &RunRecord) -> Chart {
    let steps = &record.history.steps;
    let points: Vec<_> = steps.iter().map(|line| (line.metrics.step as f64, line.metrics.loss)).collect();
    let smoothed: Vec<_> =
        steps.iter().filter_map(|l| Some((l.metrics.step as f64, f64::from(l.smoothed_loss?)))).collect();
    let valid: Vec<_> = record.history.valid.iter().map(|line| (line.step as f64, line.valid_loss)).collect();
    let ((thin, band), (line, _)) = (thinned(&points, MOST), thinned(&smoothed, MOST));
    // The steep beginning is left out of the picture, unless there is nothing else.
    let later = |points: &[(f64, f64)]| points.iter().skip(points.len() / 20).map(|point| point.1).collect::<Vec<_>>();
    let shown = [later(&thin), later(&line), later(&valid)].concat();
    let y = Axis { label: "nats a token".into(), range: span(shown, 0.1), format: |loss| format!("{loss:.2}") };
    let training =
        Series { name: Some("training, smoothed".into()), colour: COLOURS[0], line, thin, band, ..Series::default() };
    let mut series = vec![training];
    if !valid.is_empty() {
        let (line, dots) = (valid.clone(), valid);
        series.push(Series { name: Some("validation".into()), colour: COLOURS[4], line, dots, ..Series::default() });
    }
    Chart { title: "Loss".into(), size: (1010, 420), x: over_steps(steps), y, series }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn line(step: usize, mfu: Option<f64>) -> String {
        // One step whose loss was no number.
        let loss = (step != 7).then_some(5.0 / step as f64);
        let mut line = json!({
            "step": step, "tokens": 64 * step, "loss": loss, "smoothed_loss": 5.5, "lr": 1e-3, "grad_norm": 1.5,
            "tokens_per_second": 1000 + step, "skipped": step == 7,
        });
        if let Some(mfu) = mfu {
            line["mfu"] = json!(mfu);
        }
        format!("{line}\n")
    }

    #[test]
    fn a_page_has_facts_and_charts_and_needs_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let mut lines: String = (1..=2000).map(|step| line(step, None)).collect();
        lines += "{\"step\":2000,\"valid_loss\":4.25,\"valid_tokens\":10}\n{\"st";
        fs::write(dir.join("metrics.jsonl"), lines).unwrap();
        fs::write(dir.join("config.toml"), "[data]\ntrain = \"<a>\"\n").unwrap();
        assert_eq!(write_report(dir, None).unwrap(), Some(dir.join("report.html")));
        let html = fs::read_to_string(dir.join("report.html")).unwrap();
        for part in [
            "4.2500 at step 2000",
            "2,000, of which 1 skipped",
            "128,000",
            "n/a",
            "&lt;a&gt;",
            "Gradient norm",
            "Speed",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert_eq!(html.matches("<svg").count(), 4);
        assert_eq!(html.matches("http").count(), html.matches("http://www.w3.org/2000/svg").count());
        assert!(html.len() < 400_000, "curves are thinned: {}", html.len());

        let other = dir.join("other.html");
        fs::write(dir.join("metrics.jsonl"), line(1, Some(0.25)) + &line(2, Some(0.375))).unwrap();
        write_report(dir, Some(&other)).unwrap();
        let html = fs::read_to_string(other).unwrap();
        assert!(html.contains("37.5 %") && html.contains("utilisation"), "{html}");
    }

    #[test]
    fn a_run_without_a_step_has_no_page() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write_report(folder.path(), None).unwrap_err().to_string().contains("metrics.jsonl"));
        fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
        assert_eq!(write_report(folder.path(), None).unwrap(), None);
        fs::write(folder.path().join("metrics.jsonl"), "{}\n").unwrap();
        assert!(write_report(folder.path(), None).unwrap_err().to_string().contains("line 1"));
    }
}
