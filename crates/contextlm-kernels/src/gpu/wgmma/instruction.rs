//! The PTX of the kernel: the instruction itself, and how it is told where tiles are.
//!
//! <https://docs.nvidia.com/cuda/parallel-thread-execution/#asynchronous-warpgroup-level-matrix-instructions>

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::*;

use super::kernel::Tiles;

/// The distance, in bytes, between chunks of 64 lines of a tile whose lines lie together: 64 rows of 128 bytes.
const CHUNK: u64 = 64 * 128;

/// The distance between groups of eight rows of 128 bytes, within which the swizzle repeats.
const EIGHT_ROWS: u64 = 8 * 128;

/// The address that instructions know a place in shared memory by.
#[cube]
pub(super) fn address<E: CubePrimitive>(tile: &[E]) -> u32 {
    let pointer = tile.as_ptr();
    let address: u32;
    gpu_asm!(
        "{{.reg .u64 shared; cvta.to.shared.u64 shared, {pointer}; cvt.u32.u64 {address}, shared;}}",
        pointer = in(_) pointer, address = out(_) address,
        options(nomem),
    );
    address
}

/// A tile that TMA has written with a swizzle of 128 bytes, as the instruction reads it ("matrix descriptor"): bits 0 to 13
/// the address, 16 to 29 the distance of chunks, 32 to 45 that of groups, all in units of 16 bytes, and 62 the swizzle.
#[cube]
pub(super) fn descriptor(address: u32) -> u64 {
    let begin = u64::cast_from((address & 0x3ffff) >> 4);
    begin | comptime!((CHUNK / 16) << 16 | (EIGHT_ROWS / 16) << 32 | 1 << 62).runtime()
}

/// `sums` + x y for the 64 rows and DEPTH columns of x and the tile of y that begin at two descriptors. All units of four planes
/// execute it together; A is half of the tile's columns, and which sums a unit has is what the instruction makes them.
///
/// It returns when the products are there. Meanwhile other planes of the multiprocessor have theirs made.
#[cube]
pub(super) fn multiply<A: Size>(sums: Vector<f32, A>, x: u64, y: u64, #[comptime] tiles: Tiles) -> Vector<f32, A> {
    let n = comptime!(tiles.columns);
    let kind = comptime!(if tiles.brain { "bf16" } else { "f16" });
    // The instruction adds to the registers that it is given, and CubeCL has no operands that go in and out. So the sums are
    // moved into those of the result, by way of others, since the two may overlap; ptxas makes nothing of the moves. Operands
    // are numbered with the result first and then as they stand below, hence `sums` before the others.
    let moves = comptime!({
        let half = n / 2;
        let to = (0..half).map(|i| format!("mov.b32 sum{i}, %{};", half + i)).collect::<String>();
        let from = (0..half).map(|i| format!("mov.b32 %{i}, sum{i};")).collect::<String>();
        format!(".reg .b32 sum<{half}>; {to} {from}")
    });
    // Whether lines lie together, and the next 16 of the depth: 16 rows of 128 bytes then, or else 32 bytes.
    let (x_across, y_across) = comptime!((u32::from(tiles.x_columns), u32::from(tiles.y_rows)));
    let (x_step, y_step) =
        comptime!((if tiles.x_columns { 128u64 } else { 2u64 }, if tiles.y_rows { 128u64 } else { 2u64 }));
    // The registers, where the variable would be its place in memory.
    let sums = Vector::<f32, A>::cast_from(sums);
    let out: Vector<f32, A>;
    gpu_asm!(
        // CubeCL refuses an operand that the text does not name.
        "{{ // {sums}",
        ".reg .pred add; setp.ne.b32 add, 1, 0; {moves}",
        "wgmma.fence.sync.aligned;",
        "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {out}, {x0}, {y0}, add, 1, 1, {x_across}, {y_across};",
        "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {out}, {x1}, {y1}, add, 1, 1, {x_across}, {y_across};",
        "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {out}, {x2}, {y2}, add, 1, 1, {x_across}, {y_across};",
        "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {out}, {x3}, {y3}, add, 1, 1, {x_across}, {y_across};",
        "wgmma.commit_group.sync.aligned;",
        "wgmma.wait_group.sync.aligned 0;",
        "}}",
        out = out(_) out, sums = in(_) sums,
        x0 = in(_) x, x1 = in(_) x + x_step, x2 = in(_) x + 2 * x_step, x3 = in(_) x + 3 * x_step,
        y0 = in(_) y, y1 = in(_) y + y_step, y2 = in(_) y + 2 * y_step, y3 = in(_) y + 3 * y_step,
    );
    out
}
