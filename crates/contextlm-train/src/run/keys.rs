/// Every table with its keys. Context settings and a backbone's config are checked by whom they belong to.
pub(super) const KNOWN: [(&str, &[&str]); 10] = [
    ("model", &["preset", "path", "backbone", "context"]),
    ("data", &["train", "valid", "sequence_length", "packing"]),
    (
        "optimizer",
        &[
            "name",
            "lr",
            "betas",
            "eps",
            "weight_decay",
            "grad_clip",
            "momentum",
            "nesterov",
            "ns_steps",
            "adjust_lr_fn",
        ],
    ),
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

/// Keys of a table of which one is given at most.
const ALTERNATIVES: [(&str, &[&str]); 3] = [
    ("model", &["preset", "path", "backbone"]),
    ("schedule", &["warmup_steps", "warmup_ratio"]),
    ("train", &["steps", "tokens"]),
];

/// Removes what a key that `--set` gives stands instead of. What another `--set` gives stays, and both are refused later.
pub(super) fn remove_alternatives(tables: &mut toml::Table, table: &str, key: &str, set: &[String]) {
    // model.backbone.n_layer changes a backbone, or begins one.
    let first = |key: &str| key.split('.').next().unwrap_or_default().trim().to_owned();
    let key = first(key);
    let found = ALTERNATIVES.iter().find(|(name, keys)| *name == table && keys.contains(&key.as_str()));
    let (Some((_, keys)), Some(table_there)) = (found, tables.get_mut(table).and_then(toml::Value::as_table_mut))
    else {
        return;
    };
    for other in keys.iter().filter(|other| **other != key) {
        let is_set = |pair: &String| {
            let key = pair.split_once('=').and_then(|(key, _)| key.trim().split_once('.'));
            key.is_some_and(|(name, key)| name == table && first(key) == **other)
        };
        if !set.iter().any(is_set) {
            table_there.remove(*other);
        }
    }
}

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
