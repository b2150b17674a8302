/// Every table with its keys. Context settings and a backbone's config are checked by whom they belong to.
pub(super) const KNOWN: [(&str, &[&str]); 10] = [
    ("model", &["preset", "path", "backbone", "context"]),
    ("data", &["train", "valid", "sequence_length", "packing"]),
    ("optimizer", &["name", "lr", "betas", "eps", "weight_decay", "grad_clip"]),
    ("schedule", &["name", "warmup_steps", "warmup_ratio", "min_lr_ratio", "decay_ratio"]),
    ("loss", &["latent_loss", "latent_weight", "z_loss"]),
    ("guard", &["max_spike", "max_skipped"]),
    (
        "train",
        &[
            "steps",
            "tokens",
            "batch_tokens",
            "micro_batch",
            "seed",
            "seeds",
            "dtype",
            "device",
            "gradient_checkpointing",
            "freeze",
        ],
    ),
    ("checkpoint", &["dir", "every", "keep"]),
    ("eval", &["every", "tokens"]),
    ("log", &["tensorboard", "peak_flops"]),
];

/// Refuses a key that does not exist, naming the nearest one that does.
pub(super) fn check(tables: &toml::Table) -> Result<(), String> {
    for (name, table) in tables {
        let Some((_, keys)) = KNOWN.iter().find(|(known, _)| known == name) else {
            return Err(format!(
                "[{name}]: there is no such table; the nearest is [{}]",
                nearest(name, KNOWN.map(|known| known.0))
            ));
        };
        let Some(table) = table.as_table() else {
            return Err(format!("{name} = {table}: must be a table, [{name}]"));
        };
        if let Some((key, value)) = table.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
            let nearest = nearest(key, keys.iter().copied());
            return Err(format!("{name}.{key} = {value}: there is no such key; the nearest is {name}.{nearest}"));
        }
    }
    Ok(())
}

fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    known.into_iter().min_by_key(|known| strsim::damerau_levenshtein(key, known)).unwrap_or_default()
}
