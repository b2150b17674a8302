//! The kernels: a cube has a tile of the output, and goes along the inner dimension with a ring of tiles of x and y.

use burn_cubecl::cubecl;
use burn_cubecl::cubecl::prelude::barrier::Barrier;
use burn_cubecl::cubecl::prelude::*;

use super::instruction::{address, descriptor, multiply};
use super::thirds::{PARTS, ROUNDS};
use crate::gpu::needed::{Needed, ROWS};

/// Of the inner dimension, what a tile has: 128 bytes, which the swizzle of shared memory covers.
pub(super) const DEPTH: usize = 64;

/// Units of a cube: two groups of four planes ("warpgroups"), each with 64 of its rows.
pub(super) const UNITS: u32 = 256;
const UNITS_OF_GROUP: u32 = 128;

/// Pairs of tiles in shared memory: one is multiplied and two are on their way.
const STAGES: usize = 3;

/// Between the rows of a tile of the output in shared memory, so that the units that write it do not meet in its banks.
const GAP: usize = 8;

/// Two neighbours: what a unit has of a row of the output, hence what tiles in shared memory are made of.
type Pair<E> = Vector<E, Const<2>>;

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tiles {
    /// Columns of the output that a cube has, 64 or 128.
    pub(super) columns: usize,
    /// Whether x is [K, M] in memory.
    pub(super) x_columns: bool,
    /// Whether y is [K, N] in memory.
    pub(super) y_rows: bool,
    /// Whether elements are bf16 ("brain floats") and not f16.
    pub(super) brain: bool,
    /// Whether cubes follow one another down the output, and not along its rows: what they read then stays in the cache.
    pub(super) down: bool,
    /// Whether operands are the three parts of f32.
    pub(super) thirds: bool,
    pub(super) needed: Needed,
}

/// Which part of the work a cube has.
#[derive(CubeType, Clone, Copy)]
struct Place {
    outer: u32,
    inner: u32,
    /// How many outer matrices there are: those of the second part of f32 come behind them.
    outers: u32,
    row: u32,
    column: u32,
    /// The first block of the inner dimension, and how many.
    first: u32,
    blocks: u32,
}

/// x y of [outer, inner, M, K] and [outer, inner, K, N]; A is half of a tile's columns, W the columns that are
/// written at once.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(super) fn product_kernel<E: Float, A: Size, W: Size>(
    x: &TensorMap<E, Tiled>,
    y: &TensorMap<E, Tiled>,
    out: &mut Tensor<Vector<E, W>>,
    m: u32,
    n: u32,
    blocks: u32,
    inner: u32,
    outers: u32,
    #[comptime] tiles: Tiles,
    #[define(E)] _dtype: ElemType,
) {
    let place = place(m, n, blocks, inner, outers, tiles);
    if is_left_out(&place, tiles) {
        terminate!();
    }
    let mut x_tiles = Shared::<[Pair<E>]>::new_aligned_slice(comptime!(STAGES * ROWS * DEPTH / 2), 1024usize);
    let sums = sums::<E, A>(x, y, &mut x_tiles, &place, tiles);
    let from = CUBE_POS_Y as usize * m as usize * n as usize;
    let vector = W::value().comptime();
    if comptime!(vector == 8) {
        // Through shared memory, so that what is written together lies together.
        sync_cube();
        write_whole::<E, A, W>(&sums, &mut x_tiles, out, from, m, n, &place, tiles);
    } else {
        write_pairs::<E, A, W>(&sums, out, from, m, n, &place, tiles);
    }
}

/// The same in f32. Where several cubes share the inner dimension it is what each of them has, [parts, outer, inner, M, N].
#[cube(launch_unchecked, address_type = "dynamic")]
pub(super) fn parts_kernel<E: Float, A: Size, W: Size>(
    x: &TensorMap<E, Tiled>,
    y: &TensorMap<E, Tiled>,
    out: &mut Tensor<Vector<f32, W>>,
    m: u32,
    n: u32,
    blocks: u32,
    inner: u32,
    outers: u32,
    #[comptime] tiles: Tiles,
    #[define(E)] _dtype: ElemType,
) {
    let place = place(m, n, blocks, inner, outers, tiles);
    if is_left_out(&place, tiles) {
        terminate!();
    }
    let mut x_tiles = Shared::<[Pair<E>]>::new_aligned_slice(comptime!(STAGES * ROWS * DEPTH / 2), 1024usize);
    let sums = sums::<E, A>(x, y, &mut x_tiles, &place, tiles);
    let from = (CUBE_POS_Z * CUBE_COUNT_Y + CUBE_POS_Y) as usize * m as usize * n as usize;
    write_pairs::<f32, A, W>(&sums, out, from, m, n, &place, tiles);
}

#[cube]
fn place(m: u32, n: u32, blocks: u32, inner: u32, outers: u32, #[comptime] tiles: Tiles) -> Place {
    let (rows, columns) = comptime!((ROWS as u32, tiles.columns as u32));
    let (high, wide) = (m.div_ceil(rows), n.div_ceil(columns));
    let mut row = CUBE_POS_X / wide;
    let mut column = CUBE_POS_X % wide;
    if comptime!(tiles.down) {
        row = CUBE_POS_X % high;
        column = CUBE_POS_X / high;
    }
    let (first, blocks) = blocks_of_row(row, blocks, tiles);
    Place {
        outer: CUBE_POS_Y / inner,
        inner: CUBE_POS_Y % inner,
        outers,
        row: row * rows,
        column: column * columns,
        first,
        blocks,
    }
}

/// Whether nothing of a tile is needed: its first column is behind its last row.
#[cube]
fn is_left_out(place: &Place, #[comptime] tiles: Tiles) -> bool {
    let mut left_out = false;
    if comptime!(tiles.needed == Needed::BelowDiagonal) {
        left_out = place.column >= place.row + comptime!(ROWS as u32);
    }
    left_out
}

/// What a row of tiles needs of the so many blocks of the inner dimension that a cube has: the first, and how many, which is
/// none for some of the cubes that share it. The rows of a tile are a whole number of blocks.
#[cube]
fn blocks_of_row(row: u32, blocks: u32, #[comptime] tiles: Tiles) -> (u32, u32) {
    let of_rows = comptime!((ROWS / DEPTH) as u32);
    let mut first = CUBE_POS_Z * blocks;
    let mut count = blocks;
    if comptime!(matches!(tiles.needed, Needed::UpToRow | Needed::FromRow)) {
        let mut end = first + blocks;
        let (begin, behind) = (row * of_rows, (row + 1) * of_rows);
        if comptime!(tiles.needed == Needed::UpToRow) && behind < end {
            end = behind;
        }
        if comptime!(tiles.needed == Needed::FromRow) && begin > first {
            first = begin;
        }
        count = 0u32;
        if first < end {
            count = end - first;
        }
    }
    (first, count)
}

/// The sums that a unit has of its cube's tile.
#[cube]
fn sums<E: Float, A: Size>(
    x: &TensorMap<E, Tiled>,
    y: &TensorMap<E, Tiled>,
    x_tiles: &mut Shared<[Pair<E>]>,
    place: &Place,
    #[comptime] tiles: Tiles,
) -> Vector<f32, A> {
    let blocks = place.blocks * comptime!(if tiles.thirds { ROUNDS } else { 1 });
    // In pairs.
    let (of_x, of_y) = comptime!((ROWS * DEPTH / 2, tiles.columns * DEPTH / 2));
    let mut y_tiles = Shared::<[Pair<E>]>::new_aligned_slice(comptime!(STAGES * of_y), 1024usize);
    // A stage is full when its bytes are there, and empty when all units have read them.
    let mut full = Sequence::<Shared<Barrier>>::new();
    let mut empty = Sequence::<Shared<Barrier>>::new();
    #[unroll]
    for _ in 0..STAGES {
        full.push(Barrier::shared_uninit());
        empty.push(Barrier::shared_uninit());
    }
    if UNIT_POS == 0 {
        #[unroll]
        for stage in 0..STAGES {
            full[stage].init_manual(1);
            empty[stage].init_manual(UNITS);
        }
        sync_async_proxy_shared();
    }
    sync_cube();

    // All stages but one are on their way before the first is multiplied.
    if UNIT_POS == 0 {
        #[unroll]
        for stage in 0..comptime!(STAGES - 1) {
            if (stage as u32) < blocks {
                let x_tile = &mut x_tiles[stage * of_x..(stage + 1) * of_x];
                let y_tile = &mut y_tiles[stage * of_y..(stage + 1) * of_y];
                load_block::<E>(&full[stage], x, y, x_tile, y_tile, place, stage as u32, tiles);
            }
        }
    }
    let x_begin =
        address::<Pair<E>>(&x_tiles[0..of_x]) + (UNIT_POS / UNITS_OF_GROUP) * comptime!((64 * DEPTH * 2) as u32);
    let y_begin = address::<Pair<E>>(&y_tiles[0..of_y]);
    let mut sums = Vector::<f32, A>::new(0.0f32);
    for round in 0..blocks.div_ceil(comptime!(STAGES as u32)) {
        #[unroll]
        for stage in 0..STAGES {
            let block = round * comptime!(STAGES as u32) + stage as u32;
            if block < blocks {
                // The stage that was read before this one gets the block that comes after those on their way.
                let next = comptime!((stage + STAGES - 1) % STAGES);
                let ahead = block + comptime!(STAGES as u32 - 1);
                if UNIT_POS == 0 && ahead < blocks {
                    let turn = round + comptime!(u32::from(stage > 0));
                    // The phase before: the first time round nobody has to have read.
                    empty[next].wait_parity((turn & 1) ^ 1);
                    let x_tile = &mut x_tiles[next * of_x..(next + 1) * of_x];
                    let y_tile = &mut y_tiles[next * of_y..(next + 1) * of_y];
                    load_block::<E>(&full[next], x, y, x_tile, y_tile, place, ahead, tiles);
                }
                // The instruction is executed by whole planes.
                sync_plane();
                full[stage].wait_parity(round & 1);
                let x_tile = descriptor(x_begin + comptime!((4 * stage * of_x) as u32));
                let y_tile = descriptor(y_begin + comptime!((4 * stage * of_y) as u32));
                sums = multiply::<A>(sums, x_tile, y_tile, tiles);
                empty[stage].arrive();
            }
        }
    }
    sums
}

/// Asks for the tiles of a block of the inner dimension. The barrier is passed when all their bytes are there.
#[cube]
fn load_block<E: Float>(
    barrier: &Barrier,
    x: &TensorMap<E, Tiled>,
    y: &TensorMap<E, Tiled>,
    x_tile: &mut [Pair<E>],
    y_tile: &mut [Pair<E>],
    place: &Place,
    block: u32,
    #[comptime] tiles: Tiles,
) {
    barrier.arrive_and_expect_tx(1, comptime!(2 * ((ROWS + tiles.columns) * DEPTH) as u32));
    let mut depth = place.first + block;
    let (mut x_outer, mut y_outer) = (place.outer, place.outer);
    if comptime!(tiles.thirds) {
        // Once along the inner dimension for every pair of parts.
        let (round, of_x, of_y) = (block / place.blocks, comptime!(PARTS.0), comptime!(PARTS.1));
        depth = place.first + block % place.blocks;
        x_outer += ((of_x >> (2 * round)) & 3) * place.outers;
        y_outer += ((of_y >> (2 * round)) & 3) * place.outers;
    }
    let depth = depth * DEPTH as u32;
    load::<E>(barrier, x, x_tile, x_outer, place.inner, place.row, depth, ROWS, tiles.x_columns);
    load::<E>(barrier, y, y_tile, y_outer, place.inner, place.column, depth, tiles.columns, tiles.y_rows);
}

/// A tile of an operand: `lines` of the output's rows or columns from `line`, and DEPTH from `depth`. Lines that lie together
/// come in chunks of 64, as wide as the swizzle.
#[cube]
fn load<E: Float>(
    barrier: &Barrier,
    from: &TensorMap<E, Tiled>,
    to: &mut [Pair<E>],
    outer: u32,
    inner: u32,
    line: u32,
    depth: u32,
    #[comptime] lines: usize,
    #[comptime] across: bool,
) {
    let (outer, inner) = (outer as i32, inner as i32);
    if across {
        #[unroll]
        for chunk in 0..comptime!(lines / 64) {
            let begin = comptime!(chunk * 64 * DEPTH / 2);
            let end = comptime!((chunk + 1) * 64 * DEPTH / 2);
            let line = line + comptime!(chunk as u32 * 64);
            barrier.tma_load_4d(from, &mut to[begin..end], outer, inner, depth as i32, line as i32);
        }
    } else {
        barrier.tma_load_4d(from, to, outer, inner, line as i32, depth as i32);
    }
}

/// The row and column of a unit's first pair of sums within the tile. Its pair i is (i % 2) * 8 rows and (i / 2) * 8 columns on.
#[cube]
fn first_pair() -> (u32, u32) {
    ((UNIT_POS / PLANE_DIM) * 16 + UNIT_POS_PLANE / 4, (UNIT_POS_PLANE % 4) * 2)
}

/// Writes a tile whose rows begin at multiples of 16 bytes, W = 8 columns at once.
#[cube]
fn write_whole<E: Float, A: Size, W: Size>(
    sums: &Vector<f32, A>,
    tile: &mut Shared<[Pair<E>]>,
    out: &mut Tensor<Vector<E, W>>,
    from: usize,
    m: u32,
    n: u32,
    place: &Place,
    #[comptime] tiles: Tiles,
) {
    let stride = comptime!(tiles.columns + GAP);
    let (row, column) = first_pair();
    #[unroll]
    for i in 0..comptime!(tiles.columns / 4) {
        let row = row + comptime!((i % 2 * 8) as u32);
        let column = column + comptime!((i / 2 * 8) as u32);
        let mut pair = Pair::<E>::new(E::cast_from(sums.extract(comptime!(2 * i))));
        pair.insert(1usize, E::cast_from(sums.extract(comptime!(2 * i + 1))));
        tile[(row as usize * stride + column as usize) / 2] = pair;
    }
    sync_cube();
    let vectors = tile.as_slice().with_vector_size::<W>();
    let across = comptime!(tiles.columns / 8);
    #[unroll]
    for i in 0..comptime!(ROWS * tiles.columns / 8 / UNITS as usize) {
        let at = UNIT_POS as usize + comptime!(i * UNITS as usize);
        let (row, vector) = (at / across, at % across);
        let (to_row, to_column) = (place.row + row as u32, place.column + vector as u32 * 8);
        if to_row < m && to_column < n {
            out[(from + to_row as usize * n as usize + to_column as usize) / 8] = vectors[row * (stride / 8) + vector];
        }
    }
}

/// Writes a tile straight from the units' pairs, W = 2 or 1 columns at once.
#[cube]
fn write_pairs<O: Float, A: Size, W: Size>(
    sums: &Vector<f32, A>,
    out: &mut Tensor<Vector<O, W>>,
    from: usize,
    m: u32,
    n: u32,
    place: &Place,
    #[comptime] tiles: Tiles,
) {
    let (row, column) = first_pair();
    let vector = W::value().comptime();
    #[unroll]
    for i in 0..comptime!(tiles.columns / 4) {
        let row = place.row + row + comptime!((i % 2 * 8) as u32);
        let column = place.column + column + comptime!((i / 2 * 8) as u32);
        let (a, b) = (O::cast_from(sums.extract(comptime!(2 * i))), O::cast_from(sums.extract(comptime!(2 * i + 1))));
        let to = from + row as usize * n as usize + column as usize;
        if row < m && column < n {
            let mut pair = Vector::<O, W>::new(a);
            if comptime!(vector == 2) {
                pair.insert(1usize, b);
                out[to / 2] = pair;
            } else {
                out[to] = pair;
                if column + 1 < n {
                    out[to + 1] = Vector::<O, W>::new(b);
                }
            }
        }
    }
}
