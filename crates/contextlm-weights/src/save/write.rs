use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use contextlm_core::{Backbone, ContextLm, ModelTensor, TensorLayout};
use half::{bf16, f16};

use crate::save::layout::Shard;
use crate::value::Value;
use crate::{FloatType, WeightsError};

/// Values that are converted at once.
const PIECE: usize = 1 << 16;

impl FloatType {
    fn append(self, values: impl Iterator<Item = f32>, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => values.for_each(|value| bytes.extend(value.to_le_bytes())),
            Self::Bf16 => values.for_each(|value| bytes.extend(bf16::from_f32(value).to_le_bytes())),
            Self::F16 => values.for_each(|value| bytes.extend(f16::from_f32(value).to_le_bytes())),
        }
    }
}

/// Where bytes go.
pub(crate) trait Sink: Write {
    /// Everything is on the disk when this returns.
    fn finish(&mut self) -> io::Result<()>;
}

impl Sink for BufWriter<File> {
    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.get_ref().sync_all()
    }
}

/// How a file is made; tests put a disk here that is soon full.
pub(crate) type Create = dyn Fn(&Path) -> io::Result<Box<dyn Sink>>;

pub(crate) fn create_file(path: &Path) -> io::Result<Box<dyn Sink>> {
    Ok(Box::new(BufWriter::with_capacity(1 << 20, File::create_new(path)?)))
}

/// Writes all shards of a model in one walk through it.
pub(super) fn write_shards<B: Backbone>(
    model: &ContextLm<B>,
    shards: &[Shard],
    dtype: FloatType,
    folder: &Path,
    create: &Create,
) -> Result<(), WeightsError> {
    let mut walk = Walk {
        layouts: model.tensors().into_iter(),
        shards: shards.iter(),
        left: 0,
        open: None,
        dtype,
        folder,
        create,
        error: None,
    };
    Module::visit(model, &mut walk);
    walk.close();
    walk.error.map_or(Ok(()), Err)
}

/// Visits parameters in the order of [`ContextLm::tensors`].
struct Walk<'a> {
    layouts: std::vec::IntoIter<ModelTensor>,
    shards: std::slice::Iter<'a, Shard>,
    /// Tensors that the open shard still lacks.
    left: usize,
    open: Option<(std::path::PathBuf, Box<dyn Sink>)>,
    dtype: FloatType,
    folder: &'a Path,
    create: &'a Create,
    error: Option<WeightsError>,
}

impl Walk<'_> {
    fn close(&mut self) {
        if let Some((path, mut file)) = self.open.take() {
            let result = file.finish().map_err(WeightsError::io(&path));
            self.error = self.error.take().or(result.err());
        }
    }

    /// The file for the next tensor.
    fn file(&mut self) -> Result<&mut (std::path::PathBuf, Box<dyn Sink>), WeightsError> {
        if self.left == 0 {
            self.close();
            if let (Some(shard), None) = (self.shards.next(), &self.error) {
                let path = self.folder.join(&shard.file);
                let file = (self.create)(&path).and_then(|mut file| {
                    file.write_all(&shard.header(self.dtype))?;
                    Ok(file)
                });
                self.open = Some((path.clone(), file.map_err(WeightsError::io(&path))?));
                self.left = shard.tensors.len();
            }
        }
        self.left = self.left.saturating_sub(1);
        let missing = || WeightsError::file(self.folder, "more parameters than at the start of saving");
        self.error.take().map_or(Ok(()), Err)?;
        self.open.as_mut().ok_or_else(missing)
    }

    fn write<const R: usize>(&mut self, param: &Param<Tensor<R>>) -> Result<(), WeightsError> {
        let Some(tensor) = self.layouts.next() else { return Ok(()) };
        let dtype = self.dtype;
        let (path, file) = self.file()?;
        let data = param.val().into_data();
        let result = match data.dtype() {
            // Of halves there is no second copy in f32.
            DType::BF16 => write_tensor::<bf16>(&data, &tensor, dtype, file),
            DType::F16 => write_tensor::<f16>(&data, &tensor, dtype, file),
            _ => write_tensor::<f32>(&data.convert::<f32>(), &tensor, dtype, file),
        };
        result.map_err(|error| WeightsError::file(path, format!("{}: {error}", tensor.name.name)))
    }
}

impl ModuleVisitor for Walk<'_> {
    fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
        if self.error.is_none() {
            self.error = self.write(param).err();
        }
    }
}

fn write_tensor<V: Value>(
    data: &TensorData,
    tensor: &ModelTensor,
    dtype: FloatType,
    file: &mut dyn Write,
) -> io::Result<()> {
    let values = data.as_slice::<V>().map_err(|error| io::Error::other(format!("{error:?}")))?;
    match (tensor.name.layout, &tensor.shape[..]) {
        (TensorLayout::Transposed, &[rows, columns]) => write_transposed(values, rows, columns, dtype, file),
        _ => write_values(values, dtype, file),
    }
}

fn write_values<V: Value>(values: &[V], dtype: FloatType, file: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(PIECE * dtype.bytes());
    for piece in values.chunks(PIECE) {
        bytes.clear();
        dtype.append(piece.iter().map(|value| value.widened()), &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// A matrix [rows, columns] in the order of its transpose, some columns at a time.
fn write_transposed<V: Value>(
    values: &[V],
    rows: usize,
    columns: usize,
    dtype: FloatType,
    file: &mut dyn Write,
) -> io::Result<()> {
    let at_once = (PIECE / rows.max(1)).max(1);
    let (mut turned, mut bytes) = (Vec::new(), Vec::new());
    for from in (0..columns).step_by(at_once) {
        let here = at_once.min(columns - from);
        turned.clear();
        turned.resize(here * rows, V::zeroed());
        // Row by row, so that what is read lies side by side.
        for row in 0..rows {
            for (column, &value) in values[row * columns + from..][..here].iter().enumerate() {
                turned[column * rows + row] = value;
            }
        }
        bytes.clear();
        dtype.append(turned.iter().map(|value| value.widened()), &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}
