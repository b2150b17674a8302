//! The report as one page that needs nothing else.

use std::fmt::Write;

use super::attention::{AttentionMap, AttentionMaps};
use super::place::ByPlace;
use super::probe::{Probe, ProbePlace};
use super::report::ContextReport;
use super::similarity::Cosines;
use super::table::{by_place, cosines, shown, told};
use crate::charts::{Bars, HeatMap, Line, Lines, colour_scale};
use crate::{Estimate, EvalError};

const STYLE: &str = include_str!("report.css");

impl ContextReport {
    /// The report as an HTML page with its charts in it; it opens from a file. `title` names the model, `text` what it was
    /// evaluated on.
    ///
    /// # Errors
    /// [`EvalError::Chart`].
    pub fn to_html(&self, title: &str, text: &str) -> Result<String, EvalError> {
        let (title, text) = (escaped(title), escaped(text));
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>What the contexts of {title} know</title><style>{STYLE}</style></head><body>\n\
             <h1>What the contexts of {title} know</h1>\n\
             <p class=\"lead\">{windows} windows of {window} tokens from {text}; chunks of {w} tokens. A value ± its \
             standard error over {texts} texts; differences are paired, text by text. Whiskers in charts reach 1.96 \
             standard errors. Losses are nats a token, on the {guided} tokens that a predicted context guides{unguided}.</p>\n",
            windows = self.windows,
            window = self.window,
            w = self.chunk_size,
            texts = self.texts,
            guided = self.guided,
            unguided = match self.chunk_size {
                1 => String::new(),
                2 => ": all but the first of every window".into(),
                w => format!(": all but the first {} of every window", w - 1),
            },
        );
        page += &self.losses()?;
        page += &self.similarity()?;
        if let Some(probe) = &self.probe {
            page += &probes(probe, self.chunk_size)?;
        }
        page += &attention(&self.attention, self.chunk_size);
        page += "</body></html>\n";
        Ok(page)
    }

    fn losses(&self) -> Result<String, EvalError> {
        let mut rows = vec![("own contexts: the loss itself".to_string(), by_place(&self.guided_loss, false))];
        let replaced = self
            .replaced
            .iter()
            .map(|one| (format!("replaced by {}", one.by.name(self.other)), by_place(&one.rise, true)));
        rows.extend(replaced);
        let groups: Vec<String> = self.replaced.iter().map(|one| one.by.name(self.other).to_string()).collect();
        let pick = |value: fn(&ByPlace) -> Option<Estimate>| self.replaced.iter().map(|one| value(&one.rise)).collect();
        let mut series = vec![
            ("all guided tokens", pick(|rise| Some(rise.all))),
            ("first of a chunk", pick(|rise| Some(rise.first))),
        ];
        if self.guided_loss.later.is_some() {
            series.push(("the others", pick(|rise| rise.later)));
        }
        let y = "rise of the loss, nats a token";
        let mut out = section(
            "How much the model relies on its contexts",
            "<p><strong>A swap shows reliance, not gain.</strong> It says what a model that has been trained with its contexts \
             loses when they are taken away; a model that never had any may be as good. The first token of a chunk stands apart: \
             the context that guides it was made from a chunk that ends with the current token, so it carries that token too, and \
             a wrong context misleads about it.</p>",
        );
        out += &table(&["nats a token", "all guided tokens", "first of a chunk", "the others"], &rows);
        out += &figure(
            &Bars { y, groups: &groups, series: &series }.svg()?,
            &format!(
                "Loss under contexts replaced by something else, less the loss under the model's own, paired. <em>The initial \
                 context</em>: nothing is predicted. <em>Their mean</em>: what all contexts share is kept. <em>{}{}</em>: \
                 predictions of that window, at the same place. <em>The chunk before's</em>: every prediction comes a chunk late.",
                self.other[..1].to_uppercase(),
                &self.other[1..],
            ),
        );
        if self.chunk_size > 2 {
            let lines: Vec<Line<'_>> = self
                .replaced
                .iter()
                .map(|one| Line { name: one.by.name(self.other), points: numbered(&one.rise.places) })
                .collect();
            let x = "token of the chunk that is predicted";
            out += &figure(
                &Lines { x, y, lines: &lines, powers: false, marker: None, with_zero: true }.svg()?,
                "The same by the place in the chunk of the token that is predicted. Token 0 is the first of its chunk.",
            );
        }
        if let Some(control) = &self.control {
            out += &section(
                "What the contexts have brought",
                "<p>The loss of a model with <code>source = constant</code>, which has everything but predictions, less the loss of \
                 this one. Above 0 the contexts help. The errors are those of the texts: what another seed of the training would \
                 change is not in them, and needs more trainings.</p>",
            );
            let rows = [
                ("constant control".to_string(), by_place(&control.loss, false)),
                ("this model".to_string(), by_place(&self.guided_loss, false)),
                ("difference".to_string(), by_place(&control.difference, true)),
            ];
            out += &table(&["nats a token", "all guided tokens", "first of a chunk", "the others"], &rows);
            if self.chunk_size > 1 {
                let line = Line { name: "control less model", points: numbered(&control.difference.places) };
                let (x, y) = ("token of the chunk that is predicted", "difference, nats a token");
                out += &figure(
                    &Lines { x, y, lines: &[line], powers: false, marker: None, with_zero: true }.svg()?,
                    "Loss of the control less that of the model, by the place in the chunk.",
                );
            }
        }
        Ok(out)
    }

    fn similarity(&self) -> Result<String, EvalError> {
        let both = [&self.similarity.raw, &self.similarity.centred];
        let groups = ["as they are".to_string(), "without their means".to_string()];
        let pick = |value: fn(&Cosines) -> Estimate| both.iter().map(|cosines| Some(value(cosines))).collect();
        let other = format!("{} chunk", self.other);
        let series = [
            ("its chunk", pick(|cosines| cosines.actual)),
            (other.as_str(), pick(|cosines| cosines.other_text)),
            ("the chunk before", pick(|cosines| cosines.chunk_before)),
        ];
        let rows = [
            (groups[0].clone(), cosines(&self.similarity.raw)),
            (groups[1].clone(), cosines(&self.similarity.centred)),
        ];
        let mut out = section(
            "How near predictions are to the chunks that they predict",
            "<p>The cosine between a predicted context and the embedding of the chunk that it predicts, beside a chunk of another \
             window at the same place, and the chunk before, which the predictor has seen. Directions that all vectors share make any \
             two alike; without the means they are gone. Unless a latent loss was on, nothing in training asks a prediction to lie \
             near the embedding: a low cosine does not say that it knows nothing.</p>",
        );
        out += &table(&["cosine", "its chunk", &other, "the chunk before", "first less second"], &rows);
        out += &figure(
            &Bars { y: "cosine", groups: &groups, series: &series }.svg()?,
            "Mean cosines between predicted contexts and chunk embeddings.",
        );
        Ok(out)
    }
}

fn probes(probe: &Probe, chunk_size: usize) -> Result<String, EvalError> {
    let places = &probe.places;
    let groups: Vec<String> = places.iter().map(|place| format!("token {}", place.place)).collect();
    let pick = |value: fn(&ProbePlace) -> Estimate| places.iter().map(|place| Some(value(place))).collect();
    let series = [
        ("context", pick(|place| place.context.nats)),
        ("state before the chunk", pick(|place| place.state_before.nats)),
        ("state", pick(|place| place.state.nats)),
        ("state and context", pick(|place| place.state_and_context.nats)),
    ];
    let rows = places.iter().map(|place| {
        let cells = [&place.context, &place.state_before, &place.state, &place.state_and_context].map(told);
        (format!("token {}", place.place), cells)
    });
    let differences = places.iter().map(|place| {
        let cells = [
            shown(&place.context_less_state_before, true),
            shown(&place.added_by_context, true),
            format!("{:.1} %", 100.0 * place.majority.mean),
        ];
        (format!("token {}", place.place), cells)
    });
    let [training, stopping, test] = probe.samples;
    let mut out = section(
        "What a linear probe reads from them",
        &format!(
            "<p>Softmax regression from vectors to the token of the chunk, one of the {} most frequent or \"another\": learned on \
             {training} chunks, stopped by {stopping}, scored on {test}, each of texts of their own. Nats are those by which it beats \
             the frequencies of the classes; in brackets, how often the likeliest class is right. The <em>context</em> and the \
             <em>state before the chunk</em> (the encoder's, at the last token before it) know the same tokens. The <em>state</em> \
             is that of the token right before the one that is told. For <em>state and context</em> a probe of the context goes on \
             from the logits of the state's: what it adds is what a linear decoder could gain.</p>",
            probe.classes - 1
        ),
    );
    let head = ["nats (right)", "context", "state before the chunk", "state", "state and context"];
    out += &table(&head, &rows.collect::<Vec<_>>());
    let head =
        ["nats", "context less state before", "added to the state by the context", "right by the most frequent class"];
    out += &table(&head, &differences.collect::<Vec<_>>());
    let note = if places.len() < chunk_size { " Eight places of the chunk are probed." } else { "" };
    out += &figure(
        &Bars { y: "nats told", groups: &groups, series: &series }.svg()?,
        &format!("What vectors tell of the tokens of a chunk, token by token.{note}"),
    );
    Ok(out)
}

fn attention(maps: &AttentionMaps, chunk_size: usize) -> String {
    let mut out = section(
        "Where attention goes",
        &format!(
            "<p>Attention probabilities, means over the beginnings of {} windows: row by row, how much an entry attends to itself \
             and to those before it.</p><div class=\"scale\">{}<span>probability</span></div>",
            maps.windows,
            colour_scale()
        ),
    );
    let (x, y) = ("chunk attended to", "chunk");
    let picture = |map: &AttentionMap, values: &[f64], x: &str, y: &str, marked: &[bool]| {
        HeatMap { entries: map.entries, values, marked, x, y }.svg()
    };
    out += "<h3>Predictor</h3>";
    if maps.predictor.is_empty() {
        out += "<p>The predictor has no blocks.</p>";
    }
    for map in &maps.predictor {
        out += "<div class=\"maps\">";
        out += &small(&picture(map, &map.mean, x, y, &[]), &format!("block {}, mean of its heads", map.layer));
        for (head, values) in map.heads.iter().enumerate().filter(|_| map.heads.len() > 1) {
            out += &small(&picture(map, values, x, y, &[]), &format!("block {}, head {head}", map.layer));
        }
        out += "</div>";
    }
    let _ = write!(out, "<p class=\"note\">Entries are chunks of {chunk_size} tokens.</p><h3>Token decoder</h3>");
    match &maps.decoder {
        None => out += "<p>The blocks of this backbone cannot be looked into.</p>",
        Some(decoder) => {
            let (x, y) = ("entry attended to", "entry");
            out += "<div class=\"maps\">";
            for map in decoder {
                let caption = format!("block {}, mean of its heads", map.layer);
                out += &small(&picture(map, &map.mean, x, y, &maps.context_entries), &caption);
            }
            out += "</div><p class=\"note\">Blocks are counted through the backbone; those before are the token encoder's. ";
            out += if maps.context_entries.iter().any(|&context| context) {
                "Entries are tokens, and contexts between them, which have a dot.</p>"
            } else {
                "Entries are tokens.</p>"
            };
        }
    }
    out
}

fn numbered(places: &[Estimate]) -> Vec<(f64, Estimate)> {
    places.iter().enumerate().map(|(place, value)| (place as f64, *value)).collect()
}

fn section(title: &str, text: &str) -> String {
    format!("<h2>{title}</h2>\n{text}\n")
}

fn figure(picture: &str, caption: &str) -> String {
    format!("<figure>{picture}<figcaption>{caption}</figcaption></figure>\n")
}

fn small(picture: &str, caption: &str) -> String {
    format!("<figure class=\"small\">{picture}<figcaption>{caption}</figcaption></figure>")
}

fn table<const N: usize>(head: &[&str], rows: &[(String, [String; N])]) -> String {
    let mut out = String::from("<div class=\"wide\"><table><thead><tr>");
    head.iter().take(N + 1).for_each(|name| out += &format!("<th>{name}</th>"));
    out += "</tr></thead><tbody>";
    for (name, cells) in rows {
        let _ = write!(out, "<tr><th>{}</th>", escaped(name));
        cells.iter().for_each(|cell| out += &format!("<td>{cell}</td>"));
        out += "</tr>";
    }
    out + "</tbody></table></div>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
