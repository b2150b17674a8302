use std::fmt::Write;
use std::path::Path;

use contextlm_core::ContextLm;
use contextlm_core::files::read_file;
use serde_json::Value;

/// What a model card says that no config tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelCard {
    /// The model that this one was made from: a name on the hub, or what else tells it.
    pub base: Option<String>,
    /// What it was trained on.
    pub training_data: Option<String>,
}

/// Begins the table of what a model is.
const HEAD: &str = "| | |\n|---|---|\n";

/// As much of a README.md as is looked at.
const MAX_CARD: u64 = 1_000_000;

impl ModelCard {
    /// What the card of a model directory says, if it is one of ours; else nothing.
    pub fn of(dir: impl AsRef<Path>) -> Self {
        let path = dir.as_ref().join("README.md");
        let text = String::from_utf8(read_file(&path, MAX_CARD).unwrap_or_default()).unwrap_or_default();
        // Anybody may have a table with such rows; ours has this head and these rows.
        let table = text.split_once(HEAD).map_or("", |(_, table)| table);
        let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
        let has = |name: &str| rows.iter().any(|row| row.starts_with(&format!("| {name} | ")));
        if !["base", "family", "training data", "parameters of the context path"].into_iter().all(has) {
            return Self::default();
        }
        let cell = |name: &str, unknown: &str| {
            let row = format!("| {name} | ");
            let cell = rows.iter().find_map(|line| line.strip_prefix(&row)?.strip_suffix(" |"))?;
            (cell != unknown).then(|| cell.replace("\\|", "|"))
        };
        Self { base: cell("base", "none"), training_data: cell("training data", "not known") }
    }

    /// The text of README.md.
    pub(super) fn text(&self, model: &ContextLm, config: &Value) -> String {
        let context = config.get("context").and_then(Value::as_object);
        let backbone = config.get("backbone").unwrap_or(config);
        let family = backbone.get("model_type").and_then(Value::as_str).unwrap_or("unknown");
        let parameters = model.parameters();
        let mut text = String::from("---\n");
        if context.is_some() {
            text += "library_name: contextlm\n";
        }
        if let Some(base) = self.base.as_deref().and_then(hub_name) {
            writeln!(text, "base_model: {base}").ok();
        }
        text += "pipeline_tag: text-generation\ntags:\n";
        if context.is_some() {
            text += "- contextlm\n";
        }
        writeln!(text, "- {family}\n---\n").ok();
        text += if context.is_some() { "# A ContextLM\n\n" } else { "# A language model\n\n" };
        if context.is_some() {
            text += "A language model that predicts the next chunk of tokens as one vector and lets it guide the next tokens \
                     ([arXiv 2510.20280](https://arxiv.org/abs/2510.20280)).\n\n";
        }
        text += HEAD;
        writeln!(text, "| base | {} |", self.base.as_deref().map_or("none".into(), one_line)).ok();
        writeln!(text, "| family | {family} |").ok();
        let data = self.training_data.as_deref().map_or("not known".into(), one_line);
        writeln!(text, "| training data | {data} |").ok();
        writeln!(text, "| parameters of the backbone | {} |", parameters.backbone).ok();
        writeln!(text, "| parameters of the context path | {} |", parameters.context).ok();
        writeln!(text, "| parameters in all | {} |", parameters.total).ok();
        if let Some(context) = context {
            text += "\n## Context settings\n\n| key | value |\n|---|---|\n";
            for (key, value) in context {
                writeln!(text, "| `{key}` | {value} |").ok();
            }
        }
        text
    }
}

/// `org/name`, what the hub takes as a base model, of that or of `org/name@revision`.
fn hub_name(text: &str) -> Option<&str> {
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !part.starts_with('.')
    };
    name.split_once('/').is_some_and(|(org, name)| part(org) && part(name)).then_some(name)
}

/// A cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
