/// How a stored matrix lies relative to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorLayout {
    /// The same rows and columns.
    Same,
    /// Rows and columns exchanged: PyTorch's `Linear` stores [outputs, inputs], ours is [inputs, outputs].
    Transposed,
}

/// What a parameter is called in a model file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorName {
    /// The name that is written.
    pub name: String,
    /// Other names under which published files have it.
    pub aliases: Vec<String>,
    /// How the stored matrix lies.
    pub layout: TensorLayout,
}

impl TensorName {
    /// A tensor of one name that is stored as it is.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), aliases: Vec::new(), layout: TensorLayout::Same }
    }
}

/// A family's table from parameter paths to the names of Hugging Face's files.
///
/// A path is what a walk through the module gives: fields and indices joined by dots, enum variants left out, such
/// as `h.0.attention.qkv.weight`. Tables have modules; `.weight` and `.bias` are the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorNames {
    /// Stands before every name but the head's, with its dot.
    pub prefix: &'static str,
    /// Whether published files leave the prefix out.
    pub prefix_is_optional: bool,
    /// Parameters outside the blocks and the head: path, name.
    pub outside: &'static [(&'static str, &'static str)],
    /// Where the blocks are; the same on both sides.
    pub blocks: &'static str,
    /// Norms of a block: path, name.
    pub norms: &'static [(&'static str, &'static str)],
    /// Linear maps of a block: path, name.
    pub linears: &'static [(&'static str, &'static str)],
    /// How the weights of linear maps are stored.
    pub linear_layout: TensorLayout,
    /// Path of the head.
    pub head: &'static str,
    /// Names of the head, the one that is written first.
    pub head_names: &'static [&'static str],
    /// Path of the embedding that a tied head is equal to.
    pub tied_to: &'static str,
}

impl TensorNames {
    /// The name of a parameter of the backbone, `None` for a path that the table does not have.
    pub fn of(&self, path: &str) -> Option<TensorName> {
        if path == self.head {
            return Some(self.head_name());
        }
        let outside = self.outside.iter().find(|(ours, _)| *ours == path);
        let (name, layout) = match outside {
            Some((_, theirs)) => (theirs.to_string(), TensorLayout::Same),
            None => {
                let (index, relative) = path.strip_prefix(self.blocks)?.strip_prefix('.')?.split_once('.')?;
                let block = self.of_block(relative)?;
                (format!("{}.{index}.{}", self.blocks, block.name), block.layout)
            }
        };
        let prefixed = format!("{}{name}", self.prefix);
        let aliases = if self.prefix_is_optional { vec![name] } else { Vec::new() };
        Some(TensorName { name: prefixed, aliases, layout })
    }

    /// The name of a block's parameter, relative to the block; the predictor's blocks have these names too.
    pub fn of_block(&self, path: &str) -> Option<TensorName> {
        let (module, kind) = path.rsplit_once('.')?;
        let find = |table: &[(&str, &str)]| {
            table.iter().find(|(ours, _)| *ours == module).map(|(_, theirs)| format!("{theirs}.{kind}"))
        };
        if let Some(name) = find(self.norms) {
            return Some(TensorName::new(name));
        }
        let layout = if kind == "weight" { self.linear_layout } else { TensorLayout::Same };
        find(self.linears).map(|name| TensorName { layout, ..TensorName::new(name) })
    }

    /// The names of the head, also where a tied model has none of its own.
    pub fn head_name(&self) -> TensorName {
        let mut names = self.head_names.iter().map(|name| name.to_string());
        let name = names.next().unwrap_or_default();
        TensorName { name, aliases: names.collect(), layout: TensorLayout::Same }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gpt_neox, gpt2, llama};

    fn shown(name: Option<TensorName>) -> Option<(String, Vec<String>, TensorLayout)> {
        name.map(|name| (name.name, name.aliases, name.layout))
    }

    fn named(name: &str, aliases: &[&str], layout: TensorLayout) -> Option<(String, Vec<String>, TensorLayout)> {
        Some((name.into(), aliases.iter().map(|alias| alias.to_string()).collect(), layout))
    }

    #[test]
    fn gpt2_has_a_prefix_that_files_may_leave_out_and_matrices_as_ours() {
        use TensorLayout::Same;
        let of = |path| shown(gpt2::NAMES.of(path));
        assert_eq!(of("wte"), named("transformer.wte.weight", &["wte.weight"], Same));
        assert_eq!(of("ln_f.bias"), named("transformer.ln_f.bias", &["ln_f.bias"], Same));
        let qkv = named("transformer.h.11.attn.c_attn.weight", &["h.11.attn.c_attn.weight"], Same);
        assert_eq!(of("h.11.attention.qkv.weight"), qkv);
        assert_eq!(of("lm_head"), named("lm_head.weight", &[], Same));
        assert_eq!(of("h.0.attention.query.weight"), None);
        assert_eq!(of("hh.0.norm_1.weight"), None);
    }

    #[test]
    fn neox_has_a_head_of_two_names_and_transposed_matrices() {
        use TensorLayout::{Same, Transposed};
        let of = |path| shown(gpt_neox::NAMES.of(path));
        assert_eq!(of("embed_in"), named("gpt_neox.embed_in.weight", &[], Same));
        assert_eq!(of("embed_out"), named("embed_out.weight", &["lm_head.weight"], Same));
        let map = |kind: &str| format!("gpt_neox.layers.3.mlp.dense_4h_to_h.{kind}");
        assert_eq!(of("layers.3.mlp.down.weight"), named(&map("weight"), &[], Transposed));
        assert_eq!(of("layers.3.mlp.down.bias"), named(&map("bias"), &[], Same));
        let norm = shown(gpt_neox::NAMES.of_block("norm_2.weight"));
        assert_eq!(norm, named("post_attention_layernorm.weight", &[], Same));
    }

    #[test]
    fn llama_has_three_maps_of_attention_and_three_of_the_mlp() {
        use TensorLayout::{Same, Transposed};
        let of = |path: &str| shown(llama::NAMES.of(path));
        assert_eq!(of("embed_tokens"), named("model.embed_tokens.weight", &[], Same));
        assert_eq!(of("norm.weight"), named("model.norm.weight", &[], Same));
        assert_eq!(of("lm_head"), named("lm_head.weight", &[], Same));
        for (ours, theirs) in [
            ("attention.qkv.query", "self_attn.q_proj"),
            ("attention.qkv.key", "self_attn.k_proj"),
            ("attention.qkv.value", "self_attn.v_proj"),
            ("attention.output", "self_attn.o_proj"),
            ("mlp.gate", "mlp.gate_proj"),
            ("mlp.up", "mlp.up_proj"),
            ("mlp.down", "mlp.down_proj"),
        ] {
            for (kind, layout) in [("weight", Transposed), ("bias", Same)] {
                let name = format!("model.layers.3.{theirs}.{kind}");
                assert_eq!(of(&format!("layers.3.{ours}.{kind}")), named(&name, &[], layout));
            }
        }
        assert_eq!(of("layers.0.norm_1.weight"), named("model.layers.0.input_layernorm.weight", &[], Same));
        assert_eq!(of("layers.0.norm_2.weight"), named("model.layers.0.post_attention_layernorm.weight", &[], Same));
        assert_eq!(of("norm.bias"), None);
    }
}
