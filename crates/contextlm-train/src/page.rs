//! One HTML file that needs no other.

use std::fmt::Write;
use std::path::Path;

use crate::TrainError;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1040px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.3rem .8rem;border-bottom:1px solid #ddd;text-align:right;vertical-align:top}\
td:first-child,th:first-child{text-align:left}th{border-bottom:2px solid #aaa}.facts td{text-align:left}\
.charts{display:flex;flex-wrap:wrap;gap:8px}svg{max-width:100%;height:auto}pre{background:#f5f5f5;padding:.8rem;overflow:auto}\
p{max-width:48rem}.wide{overflow-x:auto}";

/// A page in the making.
pub(crate) struct Page {
    title: String,
    body: String,
}

impl Page {
    pub(crate) fn new(title: &str) -> Self {
        Self { title: escaped(title), body: format!("<h1>{}</h1>\n", escaped(title)) }
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.add(&format!("<h2>{}</h2>\n", escaped(text)));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.add(&format!("<p>{}</p>\n", escaped(text)));
    }

    /// Keys with their values, one a line.
    pub(crate) fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, String)>) {
        self.add("<table class=\"facts\">\n");
        for (key, value) in facts {
            self.add(&format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(key), escaped(&value)));
        }
        self.add("</table>\n");
    }

    /// A table, its first row the heads of the columns.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) {
        self.add("<div class=\"wide\"><table>\n");
        for (index, row) in rows.iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            self.add(&format!("<tr>{cells}</tr>\n"));
        }
        self.add("</table></div>\n");
    }

    /// Pictures beside each other, as far as there is room.
    pub(crate) fn charts(&mut self, charts: impl IntoIterator<Item = String>) {
        self.add("<div class=\"charts\">\n");
        for chart in charts {
            self.add(&chart);
        }
        self.add("</div>\n");
    }

    /// A text that unfolds.
    pub(crate) fn folded(&mut self, summary: &str, text: &str) {
        let (summary, text) = (escaped(summary), escaped(text));
        self.add(&format!("<details><summary>{summary}</summary><pre>{text}</pre></details>\n"));
    }

    fn add(&mut self, html: &str) {
        self.body += html;
    }

    pub(crate) fn html(&self) -> String {
        let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
        // Writing to a string does not fail.
        let _ = write!(
            html,
            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head><body>\n{}</body></html>\n",
            self.title, self.body
        );
        html
    }

    /// Writes it, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let partial = path.with_extension("partial");
        std::fs::write(&partial, self.html())
            .and_then(|()| std::fs::rename(&partial, path))
            .map_err(TrainError::io(path))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_text_and_no_markup() {
        let mut page = Page::new("<a & b>");
        page.table(&[vec!["x<y".into()], vec!["1".into()]]);
        page.folded("\"config\"", "</pre><script>");
        let html = page.html();
        assert!(html.contains("<title>&lt;a &amp; b&gt;</title>") && html.contains("<th>x&lt;y</th>"));
        assert!(html.contains("&lt;/pre&gt;&lt;script&gt;") && !html.contains("<script"), "{html}");
    }
}
