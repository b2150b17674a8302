use std::io::{self, Write};

use contextlm_core::{BackboneConfig, Gpt2Config};

use super::write::Sink;
use super::*;

fn model() -> (ContextLm, ContextLmConfig) {
    let backbone =
        Gpt2Config { vocab_size: 31, n_positions: 8, n_embd: 12, n_layer: 2, n_head: 2, ..Gpt2Config::default() };
    let config = ContextLmConfig::new(BackboneConfig::Gpt2(backbone)).with_default_context();
    (config.init(&contextlm_device::device("cpu").unwrap()).unwrap(), config)
}

/// A disk with room for so many bytes.
struct Disk {
    left: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left < bytes.len() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        self.left -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Disk {
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_leaves_what_was_there_and_no_debris() {
    let (model, config) = model();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    save(&model, &config, &dir, &SaveOptions::default()).unwrap();
    let before = fs::read(dir.join("model.safetensors")).unwrap();

    let overwrite = SaveOptions { overwrite: true, ..SaveOptions::default() };
    for left in [0, 100, 5_000, before.len() - 1] {
        let create = move |_: &Path| -> io::Result<Box<dyn Sink>> { Ok(Box::new(Disk { left })) };
        let error = save_files(&model, &dir, &overwrite, &create, |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("no space left") && error.contains("model.safetensors"), "{error}");
        assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), before);
        assert_eq!(names(folder.path()), ["model"]);
    }
    let create = |_: &Path| -> io::Result<Box<dyn Sink>> { Ok(Box::new(Disk { left: usize::MAX })) };
    save_files(&model, &dir, &overwrite, &create, |_| Ok(())).unwrap();
    assert!(names(&dir).is_empty(), "what the disk took is gone, so the test reaches the end of a save");
}

/// The other way takes two steps, between which there is neither: it would need the name that is taken here.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_is_replaced_in_one_step() {
    let (model, config) = model();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    save(&model, &config, &dir, &SaveOptions::default()).unwrap();
    fs::write(dir.join("old"), "").unwrap();
    let taken = format!(".model.old-{}", std::process::id());
    fs::write(folder.path().join(&taken), "").unwrap();
    save(&model, &config, &dir, &SaveOptions { overwrite: true, ..SaveOptions::default() }).unwrap();
    assert_eq!(names(folder.path()), [taken, "model".into()]);
    assert_eq!(names(&dir), ["README.md", "config.json", "model.safetensors"]);
}

#[test]
fn shards_are_as_large_as_allowed_and_have_every_tensor_once() {
    let (model, _) = model();
    let tensors = model.tensors();
    let largest = tensors.iter().map(|t| t.stored_shape().iter().product::<usize>() as u64 * 4).max().unwrap();
    for max in [1, 1000, largest, 3 * largest, u64::MAX] {
        let shards = shards(tensors.clone(), FloatType::F32, max);
        assert!(shards.iter().all(|shard| shard.bytes() <= max || shard.tensors.len() == 1), "{max}");
        let names: Vec<_> = shards.iter().flat_map(|shard| &shard.tensors).map(|tensor| &tensor.name).collect();
        assert_eq!(names, tensors.iter().map(|tensor| &tensor.name.name).collect::<Vec<_>>());
        assert_eq!(shards.len() == 1, max == u64::MAX);
    }
}

#[test]
fn a_card_says_what_is_known() {
    let (model, config) = model();
    let card = ModelCard { base: Some("org/name".into()), training_data: Some("books |\nand more".into()) };
    let text = card.text(&model, &config.to_json());
    let lines = ["base_model: org/name", "| base | org/name |", "| training data | books \\| and more |", "- gpt2"];
    for line in lines.into_iter().chain(["| `chunk_size` | 2 |", "library_name: contextlm"]) {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let total = format!("| parameters in all | {} |", model.parameters().total);
    assert!(text.contains(&total), "{text}");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ModelCard::of(folder.path()), ModelCard::default());
    fs::write(folder.path().join("README.md"), &text).unwrap();
    let read = ModelCard { training_data: Some("books | and more".into()), ..card };
    assert_eq!(ModelCard::of(folder.path()), read);
    // Cards of others have tables too.
    for other in
        ["| size | layers | width |\n|---|---|---|\n| base | 12 | 768 |\n", "| | |\n|---|---|\n| base | 12 |\n"]
    {
        fs::write(folder.path().join("README.md"), other).unwrap();
        assert_eq!(ModelCard::of(folder.path()), ModelCard::default());
    }
    let pinned = ModelCard { base: Some("org/name@refs/pr/1".into()), ..ModelCard::default() };
    let text = pinned.text(&model, &config.to_json());
    assert!(text.contains("base_model: org/name\n") && text.contains("| base | org/name@refs/pr/1 |"), "{text}");
    let plain = ModelCard { base: Some("../x\n---".into()), ..ModelCard::default() };
    let text = plain.text(&model, &config.plain().to_json());
    assert!(!text.contains("base_model") && text.contains("| base | ../x --- |"), "{text}");
    assert!(!text.contains("ontext settings") && text.contains("| training data | not known |"), "{text}");
}
