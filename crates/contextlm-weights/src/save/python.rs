use serde_json::{Value, json};

/// The reference of a ContextLM in PyTorch, for those who load it with `transformers`.
pub(super) const FILES: [(&str, &str); 2] = [
    ("configuration_contextlm.py", include_str!("../../python/configuration_contextlm.py")),
    ("modeling_contextlm.py", include_str!("../../python/modeling_contextlm.py")),
];

/// Where `transformers` finds the classes, with `trust_remote_code=True`.
pub(super) fn auto_map() -> Value {
    json!({
        "AutoConfig": "configuration_contextlm.ContextLMConfig",
        "AutoModelForCausalLM": "modeling_contextlm.ContextLMForCausalLM",
    })
}
