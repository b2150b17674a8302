use std::collections::BTreeMap;
use std::path::{Component, Path};

use contextlm_core::files::open_file;
use serde::Deserialize;

use crate::WeightsError;
use crate::files::NO_PICKLE;
use crate::unique::UniqueMap;

/// As much as the format allows for a header, which lists the same names.
const MAX_INDEX: u64 = 100_000_000;

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// Reads `model.safetensors.index.json`: which tensor is in which file of the same folder.
pub(crate) fn read_index(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let file = open_file(path, MAX_INDEX).map_err(WeightsError::io(path))?;
    let Index { weight_map: UniqueMap(shards) } = serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|error| WeightsError::file(path, format!("index: {error}")))?;
    for (name, shard) in &shards {
        let mut parts = Path::new(shard).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == &**shard);
        if !plain || shard.contains(['/', '\\', '\0']) {
            let reason = format!(
                "weight_map.{} = {shard:?}: must be the name of a file in the same folder",
                name.escape_debug()
            );
            return Err(WeightsError::file(path, reason));
        }
        if !shard.ends_with(".safetensors") {
            let reason = format!(
                "weight_map.{} = {shard:?}: only .safetensors files are read: {NO_PICKLE}",
                name.escape_debug()
            );
            return Err(WeightsError::file(path, reason));
        }
    }
    Ok(shards)
}
