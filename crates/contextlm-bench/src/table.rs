use std::fmt::Write;

use crate::{Line, Size};

/// Lines as a table for people.
pub fn table(lines: &[Line], peer: Option<&str>) -> String {
    let mut text = String::new();
    let of_peer = peer.map_or(String::new(), |peer| format!(" {:>11} {:>9}", format!("{peer} speed"), "memory"));
    writeln!(
        text,
        "{:<11} {:<15} {:>12} {:>11} {:>9} {:>11} {:>9}{of_peer}",
        "", "", "ms", "tokens/s", "MiB", "over plain", "expected"
    )
    .ok();
    for line in lines {
        let number = |value: Option<f64>, digits| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        write!(
            text,
            "{:<11} {:<15} {:>12.3} {:>11} {:>9} {:>11} {:>9}",
            line.work.name(),
            line.model,
            1e3 * line.seconds,
            number(line.tokens_per_second, 1),
            line.peak_bytes.map_or("-".into(), |bytes| (bytes >> 20).to_string()),
            number(line.over_plain, 3),
            number(line.expected_over_plain, 3),
        )
        .ok();
        if peer.is_some() {
            write!(text, " {:>11} {:>9}", number(line.speed_over_peer, 3), number(line.memory_over_peer, 3)).ok();
        }
        text.push('\n');
    }
    for line in lines {
        let Some(floor) = line.floor_seconds else { continue };
        let share = 100.0 * floor / line.seconds;
        let (model, floor) = (&line.model, 1e3 * floor);
        writeln!(text, "{model}: reading the weights of a token takes {floor:.3} ms, {share:.0} % of its decode").ok();
    }
    text
}

/// The table of sizes.
pub fn size_table(sizes: &[Size], peer: Option<&str>) -> String {
    let mut text = String::new();
    let of_peer = peer.map_or(String::new(), |peer| format!("   {peer} speed: training, prefill, decode"));
    writeln!(
        text,
        "{:>6} {:>6} {:>10} {:>12} {:>9} {:>12} {:>12}{of_peer}",
        "tokens", "width", "vocabulary", "training ms", "GFLOP/s", "prefill ms", "decode ms"
    )
    .ok();
    for size in sizes {
        let [training, prefill, decode] = size.seconds.map(|seconds| 1e3 * seconds);
        let gflops = size.training_flops_per_second / 1e9;
        let peer = size.speed_over_peer.map_or(String::new(), |[t, p, d]| format!("   {t:.3} {p:.3} {d:.3}"));
        let (length, width, vocabulary) = (size.length, size.width, size.vocabulary);
        writeln!(
            text,
            "{length:>6} {width:>6} {vocabulary:>10} {training:>12.2} {gflops:>9.1} {prefill:>12.2} {decode:>12.3}{peer}"
        )
        .ok();
    }
    text
}
