//! Trial: times matrix products by shape, layout and strategy of cubek. Not part of the project.
//!
//! matmul_probe [--compile] [--only a,b] NAME:LHS_BATCH:RHS_BATCH:M:N:K:LAYOUT...   (LAYOUT: NN, NT, TN)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::future::block_on;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::cubecl::prelude::TensorBinding;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::into_data_sync;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulProblem};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as M;
use cubek::matmul::multi_level::components::stage::PartitionBuffering;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::definition::{BatchMatmulBlueprint, TilingScheme};
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::routine::BlueprintStrategy as B;
use cubek::matmul::strategy::Strategy;
use cubek::matmul::tiled::Strategy as T;
use cubek::matmul::tiled::cmma::CmmaStrategy;
use cubek::std::InputBinding;
use cubek::std::cube_count::{CubeCountStrategy, GlobalOrder, HypercubeBlueprint, SmAllocation};

const BF16: ElemType = ElemType::Float(FloatKind::BF16);

struct Case {
    name: String,
    lhs: CubeTensor,
    rhs: CubeTensor,
    work: f64,
    tiles: (usize, usize, usize, bool, bool),
}

fn tensor(shape: &[usize], transposed: bool, device: &CubeDevice, seed: u32) -> CubeTensor {
    use burn::backend::ops::FloatTensorOps;
    let mut stored = shape.to_vec();
    let rank = stored.len();
    if transposed {
        stored.swap(rank - 1, rank - 2);
    }
    let count: usize = stored.iter().product();
    let mut state = seed | 1;
    let bits: Vec<u8> = (0..count)
        .flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5;
            ((value.to_bits() >> 16) as u16).to_le_bytes()
        })
        .collect();
    let data = burn::tensor::TensorData::from_bytes_vec(bits, stored, DType::BF16);
    let tensor = burn_cubecl::CubeBackend::float_from_data(data, device);
    if transposed { burn_cubecl::CubeBackend::float_swap_dims(tensor, rank - 1, rank - 2) } else { tensor }
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let compile = args.iter().position(|a| a == "--compile").map(|at| args.remove(at)).is_some();
    let only: Option<Vec<String>> = args.iter().position(|a| a == "--only").map(|at| {
        args.remove(at);
        args.remove(at).split(',').map(String::from).collect()
    });
    let device = match std::env::var("PROBE_DEVICE").as_deref() {
        Ok("wgpu") => CubeDevice::cuda(1).unwrap_or_else(|e| panic!("{e:?}")),
        _ => CubeDevice::cuda(0).unwrap_or_else(|e| panic!("{e:?}")),
    };
    let client = device.client();
    let hardware = &client.properties().hardware;
    eprintln!(
        "plane {}..{}, shared {}, units {}, sms {:?}, tensor cores {:?}, tma {:?}, async copy {}",
        hardware.plane_size_min,
        hardware.plane_size_max,
        hardware.max_shared_memory_size,
        hardware.max_units_per_cube,
        hardware.num_streaming_multiprocessors,
        hardware.num_tensor_cores,
        client.properties().features.tma,
        client.properties().features.copy_async
    );
    let sms = hardware.num_streaming_multiprocessors;
    for argument in args {
        let parts: Vec<&str> = argument.split(':').collect();
        let number = |i: usize| parts[i].parse::<usize>().unwrap_or(1);
        let (lb, rb, m, n, k, layout) = (number(1), number(2), number(3), number(4), number(5), parts[6]);
        let (l, r) = (layout.starts_with('T'), layout.ends_with('T'));
        let dims = |batch: usize, a: usize, b: usize| if lb == 1 { vec![a, b] } else { vec![batch, a, b] };
        let case = Case {
            name: parts[0].into(),
            lhs: tensor(&dims(lb, m, k), l, &device, 1),
            rhs: tensor(&dims(rb, k, n), r, &device, 77),
            work: 2.0 * (lb * m * n * k) as f64,
            tiles: (m, n, k, l, r),
        };
        let mut reference = None;
        for (name, strategy) in strategies(&case, sms) {
            if only.as_ref().is_some_and(|only| !only.iter().any(|part| name.contains(part.as_str()))) {
                continue;
            }
            run(&case, &name, strategy.as_ref(), compile, &mut reference);
        }
    }
}

fn launch(case: &Case, strategy: Option<&Strategy>, out: &CubeTensor) -> Result<(), String> {
    let Some(strategy) = strategy else {
        return matmul(case.lhs.clone(), case.rhs.clone(), Some(out.clone()), MatmulStrategy::default(), DType::BF16)
            .map(|_| ())
            .map_err(|e| format!("{e:?}"));
    };
    let binding = |t: &CubeTensor| -> TensorBinding { t.clone().binding() };
    let mut elems = MatmulElems::from_globals(&MatmulGlobalElems { lhs: BF16, rhs: BF16, out: BF16 });
    let (lhs, rhs) = (InputBinding::new(binding(&case.lhs), BF16), InputBinding::new(binding(&case.rhs), BF16));
    launch_ref(strategy, &out.client, lhs, rhs, binding(out), &mut elems).map_err(|e| format!("{e:?}"))
}

fn run(case: &Case, name: &str, strategy: Option<&Strategy>, compile: bool, reference: &mut Option<Vec<f32>>) {
    use burn::backend::TensorMetadata;
    let mut shape: Vec<usize> = case.lhs.shape().iter().copied().collect();
    let rank = shape.len();
    shape[rank - 1] = case.tiles.1;
    let out = empty_device_dtype(case.lhs.client.clone(), case.lhs.device.clone(), Shape::from(shape), DType::BF16);
    let client = out.client.clone();
    let sync = || block_on(client.sync()).map_err(|e| format!("{e:?}"));
    let clock = Instant::now();
    let first = catch_unwind(AssertUnwindSafe(|| launch(case, strategy, &out).and_then(|()| sync())))
        .unwrap_or_else(|_| Err("panic".into()));
    let first_seconds = clock.elapsed().as_secs_f64();
    if let Err(error) = first {
        let error: String = error.replace('\n', " ").chars().take(160).collect();
        println!("{:<14} {name:<58} no: {error}", case.name);
        return;
    }
    if compile {
        println!("{:<14} {name:<58} compiled in {first_seconds:.2} s", case.name);
        return;
    }
    let timed = |times: usize| -> Result<f64, String> {
        sync()?;
        let clock = Instant::now();
        for _ in 0..times {
            launch(case, strategy, &out)?;
        }
        sync()?;
        Ok(clock.elapsed().as_secs_f64() / times as f64)
    };
    let measured = catch_unwind(AssertUnwindSafe(|| {
        let once = timed(2)?;
        let times = ((0.02 / once) as usize).clamp(3, 60);
        Ok::<_, String>(timed(times)?.min(timed(times)?))
    }));
    let seconds = match measured {
        Ok(Ok(seconds)) => seconds,
        other => return println!("{:<14} {name:<58} no: {other:?}", case.name),
    };
    // The first and the last rows are compared with those of the first strategy.
    let rows = |from: usize| {
        use burn::backend::ops::FloatTensorOps;
        use burn::tensor::Slice;
        let mut slices = vec![Slice::from(0..1); rank];
        slices[rank - 2] = Slice::from(from..from + 32);
        slices[rank - 1] = Slice::full();
        let part = into_data_sync(burn_cubecl::CubeBackend::float_slice(out.clone(), &slices)).into_bytes();
        part.chunks_exact(2)
            .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
            .collect::<Vec<_>>()
    };
    let values = [rows(0), rows(case.tiles.0 - 32)].concat();
    let difference = match &*reference {
        None => {
            *reference = Some(values);
            0.0
        }
        Some(first) => {
            let largest = first.iter().fold(0f32, |a, b| a.max(b.abs()));
            first.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest
        }
    };
    println!(
        "{:<14} {name:<58} {:8.3} ms {:7.1} TFLOP/s, first {first_seconds:.2} s, off {difference:.4}",
        case.name,
        1e3 * seconds,
        case.work / seconds / 1e12
    );
}

/// A blueprint of our own: warps of `part` tiles, `stage` warps.
#[allow(clippy::too_many_arguments)]
fn blueprint(
    case: &Case,
    kind: TileMatmulKind,
    tile: (u32, u32, u32),
    part: (u32, u32, u32),
    stage: (u32, u32, u32),
    stages: u32,
    double: bool,
    sms: Option<u32>,
) -> Option<BatchMatmulBlueprint> {
    let problem = MatmulProblem::from_shapes_and_strides(
        case.lhs.meta.shape().clone(),
        case.rhs.meta.shape().clone(),
        {
            let mut out: Vec<usize> = case.lhs.meta.shape().iter().copied().collect();
            let last = out.len() - 1;
            out[last] = case.tiles.1;
            Shape::from(out)
        },
        case.lhs.meta.strides().clone(),
        case.rhs.meta.strides().clone(),
        {
            let mut out: Vec<usize> = case.lhs.meta.shape().iter().copied().collect();
            let last = out.len() - 1;
            out[last] = case.tiles.1;
            let mut strides = vec![1usize; out.len()];
            for i in (0..last).rev() {
                strides[i] = strides[i + 1] * out[i + 1];
            }
            burn_cubecl::cubecl::zspace::Strides::new(&strides)
        },
        MatmulGlobalElems { lhs: BF16, rhs: BF16, out: BF16 },
        burn_cubecl::cubecl::ir::AddressType::U32,
        None,
        None,
    )
    .ok()?;
    let scheme = TilingScheme::builder()
        .with_tile_size(tile.into())
        .with_partition_size(part.into())
        .with_stage_size(stage.into())
        .build()
        .ok()?;
    let count = match sms {
        Some(num_sms) => CubeCountStrategy::Sm { num_sms, sm_usage: SmAllocation::Exact, cubes_first: true },
        None => CubeCountStrategy::FromProblem,
    };
    let hypercube =
        HypercubeBlueprint::builder().global_order(GlobalOrder::SwizzleRow(4)).cube_count_strategy(count).build();
    Some(
        BatchMatmulBlueprint::builder(kind, scheme, 32, &problem)
            .partition_buffering(if double { PartitionBuffering::Double } else { PartitionBuffering::Single })
            .stage_buffering(stages)
            .hypercube_blueprint(hypercube)
            .build(),
    )
}

fn strategies(case: &Case, sms: Option<u32>) -> Vec<(String, Option<Strategy>)> {
    use TileMatmulKind::{Cmma, Mma};
    let mut all: Vec<(String, Option<Strategy>)> = Vec::new();
    let mut add = |name: &str, s: M| all.push((name.into(), Some(s.into())));
    let simple = |multi_rows, tile_matmul| SimpleArgs { multi_rows, tile_matmul };
    let double = |specialized, tile_matmul| DoubleBufferingArgs { specialized, tile_matmul };
    let ordered = |rc, rpp, pk, tile_matmul| OrderedSelectionArgs {
        partition_k: Some(pk),
        row_count: Some(rc),
        rows_per_plane: Some(rpp),
        tile_matmul,
    };
    add("simple_cyclic_cmma", M::SimpleCyclicCmma(B::Inferred(simple(false, Cmma))));
    add("simple_cyclic_mma", M::SimpleCyclicMma(B::Inferred(simple(false, Mma))));
    add("simple_cyclic_cmma_multi_rows", M::SimpleCyclicCmma(B::Inferred(simple(true, Cmma))));
    add("simple_cyclic_mma_multi_rows", M::SimpleCyclicMma(B::Inferred(simple(true, Mma))));
    add("simple_async_cyclic_mma_multi_rows", M::SimpleAsyncCyclicMma(B::Inferred(simple(true, Mma))));
    add("simple_async_strided_mma_multi_rows", M::SimpleAsyncStridedMma(B::Inferred(simple(true, Mma))));
    for (rc, rpp, pk) in [(4, 2, 2), (8, 2, 2), (8, 2, 4), (16, 2, 2), (16, 2, 4), (8, 4, 2), (16, 4, 2)] {
        add(
            &format!("ordered_mma_rc{rc}_rpp{rpp}_pk{pk}"),
            M::OrderedDoubleMma(B::Inferred(ordered(rc, rpp, pk, Mma))),
        );
    }
    for (rc, rpp, pk) in [(8, 2, 2), (8, 4, 2), (4, 2, 2)] {
        add(
            &format!("ordered_cmma_rc{rc}_rpp{rpp}_pk{pk}"),
            M::OrderedDoubleCmma(B::Inferred(ordered(rc, rpp, pk, Cmma))),
        );
    }
    add("double_cyclic_cmma", M::DoubleCyclicCmma(B::Inferred(double(false, Cmma))));
    add("double_cyclic_mma", M::DoubleCyclicMma(B::Inferred(double(false, Mma))));
    add("double_cyclic_mma_specialized", M::DoubleCyclicMma(B::Inferred(double(true, Mma))));
    add("double_async_cyclic_mma", M::DoubleAsyncCyclicMma(B::Inferred(double(false, Mma))));
    add("double_async_strided_mma", M::DoubleAsyncStridedMma(B::Inferred(double(false, Mma))));
    add("specialized_cyclic_cmma", M::SpecializedCyclicCmma(B::Inferred(().into())));
    add("specialized_cyclic_mma", M::SpecializedCyclicMma(B::Inferred(().into())));
    add("specialized_strided_mma", M::SpecializedStridedMma(B::Inferred(().into())));
    add("simple_tma_mma", M::SimpleTmaMma(B::Inferred(simple(false, Mma))));
    add("simple_tma_mma_multi_rows", M::SimpleTmaMma(B::Inferred(simple(true, Mma))));
    add("simple_tma_cmma_multi_rows", M::SimpleTmaCmma(B::Inferred(simple(true, Cmma))));
    add("double_tma_mma", M::DoubleTmaMma(B::Inferred(double(false, Mma))));
    add("specialized_tma_cmma", M::SpecializedTmaCmma(B::Inferred(().into())));
    add("specialized_tma_mma", M::SpecializedTmaMma(B::Inferred(().into())));
    // Blueprints of our own: squarer warps than any inferred one.
    for (part, stage) in [
        ((4, 8, 2), (2, 2, 1)),
        ((4, 8, 2), (4, 2, 1)),
        ((4, 8, 2), (2, 4, 1)),
        ((4, 16, 2), (2, 1, 1)),
        ((4, 8, 2), (4, 1, 1)),
    ] {
        let label = format!("p{}x{}x{}_s{}x{}", part.0, part.1, part.2, stage.0, stage.1);
        if let Some(bp) = blueprint(case, Mma, (16, 8, 16), part, stage, 1, false, sms) {
            add(&format!("own_simple_mma_{label}"), M::SimpleCyclicMma(B::Forced(bp)));
        }
        if let Some(bp) = blueprint(case, Mma, (16, 8, 16), part, stage, 2, true, sms) {
            add(&format!("own_double_async_cyclic_mma_{label}"), M::DoubleAsyncCyclicMma(B::Forced(bp.clone())));
            add(&format!("own_double_cyclic_mma_{label}"), M::DoubleCyclicMma(B::Forced(bp.clone())));
        }
    }
    if let Some(bp) = blueprint(case, Cmma, (16, 16, 16), (4, 4, 2), (2, 2, 1), 1, false, sms) {
        add("own_simple_cmma_p4x4x2_s2x2", M::SimpleCyclicCmma(B::Forced(bp)));
    }
    if !case.tiles.3 {
        all.push(("tiled_cmma".into(), Some(T::Cmma(B::default()).into())));
        all.push(("tiled_cmma_async".into(), Some(T::Cmma(B::Inferred(CmmaStrategy::async_copy())).into())));
        all.push(("tiled_cmma_tma".into(), Some(T::Cmma(B::Inferred(CmmaStrategy::tma())).into())));
    }
    all
}
