//! Each kernel beside burn's own operation on `flex`, at the sizes of ViT-B/16, and beside as many fused multiply-adds on registers: no
//! product in f32 can be faster. A batch is as many pictures of 197 tokens.

#![allow(missing_docs, clippy::expect_used)] // criterion's macros make public functions; a bench fails by panicking

use burn::tensor::activation::gelu;
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use chinese_clip::{Device, Tensor, TensorData, device};
use chinese_clip_benches::{Setting, multiply_adds, slow_group};
use chinese_clip_kernels::{
    self as kernels, Activation, Attention, Bf16Weights, Element, Epilogue, Int8Weights, Isa, Rows, activate,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

const TOKENS: usize = 197;
const WIDTH: usize = 768;
const INNER: usize = 4 * WIDTH;
const HEADS: usize = 12;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7).sin()).collect()
}

/// As layers of bf16 exchange them.
fn pairs(numbers: &[f32]) -> Vec<u32> {
    let upper = |x: f32| x.to_bits() >> 16;
    numbers.chunks_exact(2).map(|pair| upper(pair[0]) | upper(pair[1]) << 16).collect()
}

fn tensor<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product()), shape), device)
}

/// A row of the table: `work` as one implementation does it.
fn bench<R>(group: &mut BenchmarkGroup<'_, WallTime>, batch: usize, name: &str, mut work: impl FnMut() -> R) {
    group.bench_function(format!("ViT-B-16/{batch}/{name}"), |b| b.iter(&mut work));
}

/// The first layer of an MLP with its activation.
fn product(c: &mut Criterion) {
    let (isa, flex) = (Isa::current(), device("flex").expect("flex"));
    let (weight, bias) = (numbers(WIDTH * INNER), numbers(INNER));
    let panels = kernels::pack(&weight, WIDTH, INNER);
    let (bf16, int8) = (Bf16Weights::pack(&weight, WIDTH, INNER), Int8Weights::pack(&weight, WIDTH, INNER));
    let epilogue = Epilogue { bias: &bias, activation: Activation::Gelu, residual: None };
    let mut group = slow_group(c, "product");
    for &batch in Setting::from_environment().batches {
        let (rows, x) = (batch * TOKENS, numbers(batch * TOKENS * WIDTH));
        group.throughput(Throughput::Elements((2 * rows * WIDTH * INNER) as u64));
        bench(&mut group, batch, "f32", || kernels::affine(isa, &x, WIDTH, &panels, epilogue));
        let pairs = pairs(&x);
        bench(&mut group, batch, "bf16", || bf16.affine::<u32, u32>(isa, &pairs, 0..INNER, epilogue));
        bench(&mut group, batch, "int8", || int8.affine::<u32, u32>(isa, &pairs, 0..INNER, epilogue));
        let (x, w, b) = (tensor([batch, TOKENS, WIDTH], &flex), tensor([WIDTH, INNER], &flex), tensor([INNER], &flex));
        bench(&mut group, batch, "burn", || gelu(linear(x.clone(), w.clone(), Some(b.clone()))));
        bench(&mut group, batch, "peak of f32", || multiply_adds(rows * WIDTH * INNER));
    }
    group.finish();
}

/// Attention of all tokens to all, from one matrix of queries, keys and values.
fn attention_of_tokens(c: &mut Criterion) {
    let (isa, flex) = (Isa::current(), device("flex").expect("flex"));
    let mut group = slow_group(c, "attention");
    for &batch in Setting::from_environment().batches {
        let whole = numbers(batch * TOKENS * 3 * WIDTH);
        let short = pairs(&whole);
        let operations = 4 * batch * TOKENS * TOKENS * WIDTH;
        group.throughput(Throughput::Elements(operations as u64));
        bench(&mut group, batch, "f32", || kernels::attention(isa, &[of_one_matrix(&whole, batch)]));
        bench(&mut group, batch, "bf16", || kernels::attention(isa, &[of_one_matrix(&short, batch)]));
        let qkv = tensor([batch, TOKENS, 3 * WIDTH], &flex);
        let heads = |start: usize| {
            let part = qkv.clone().narrow(2, start * WIDTH, WIDTH);
            part.reshape([batch, TOKENS, HEADS, WIDTH / HEADS]).swap_dims(1, 2)
        };
        let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: false };
        bench(&mut group, batch, "burn", || attention(heads(0), heads(1), heads(2), None, None, options));
        bench(&mut group, batch, "peak of f32", || multiply_adds(operations / 2));
    }
    group.finish();
}

/// Queries, keys and values side by side.
fn of_one_matrix<T: Element>(elements: &[T], batch: usize) -> Attention<'_, T> {
    let width = WIDTH / T::COUNT;
    let part =
        |start: usize| Rows { elements: &elements[start * width..], row: 3 * width, sequence: TOKENS * 3 * width };
    Attention {
        queries: part(0),
        keys: part(1),
        values: part(2),
        bias: None,
        lengths: [batch, TOKENS, TOKENS],
        heads: HEADS,
        width: WIDTH / HEADS,
    }
}

/// GELU of what is inside an MLP, on one thread.
fn activation(c: &mut Criterion) {
    let (isa, flex) = (Isa::current(), device("flex").expect("flex"));
    let mut group = slow_group(c, "activation");
    for &batch in Setting::from_environment().batches {
        let count = batch * TOKENS * INNER;
        group.throughput(Throughput::Elements(count as u64));
        let (x, mut y) = (numbers(count), vec![0.0; count]);
        bench(&mut group, batch, "f32", || {
            y.copy_from_slice(&x);
            activate(isa, Activation::Gelu, &mut y);
        });
        let x = tensor([batch * TOKENS, INNER], &flex);
        bench(&mut group, batch, "burn", || gelu(x.clone()));
    }
    group.finish();
}

/// Layer normalisation of all tokens.
fn norm(c: &mut Criterion) {
    let (isa, flex) = (Isa::current(), device("flex").expect("flex"));
    let (scale, shift) = (numbers(WIDTH), numbers(WIDTH));
    let norm = kernels::LayerNorm { scale: &scale, shift: &shift, epsilon: 1e-5 };
    let mut group = slow_group(c, "norm");
    for &batch in Setting::from_environment().batches {
        group.throughput(Throughput::Elements((batch * TOKENS * WIDTH) as u64));
        let x = numbers(batch * TOKENS * WIDTH);
        bench(&mut group, batch, "f32", || kernels::layer_norm::<f32>(isa, &x, norm));
        bench(&mut group, batch, "f32 to bf16", || kernels::layer_norm::<u32>(isa, &x, norm));
        let (x, [scale, shift]) = (tensor([batch, TOKENS, WIDTH], &flex), [(); 2].map(|()| tensor([WIDTH], &flex)));
        bench(&mut group, batch, "burn", || layer_norm(x.clone(), scale.clone(), Some(shift.clone()), 1e-5));
    }
    group.finish();
}

/// Patches of 16 by 16 pixels, of 8 bits a sample at once or by way of normalised numbers.
fn patches(c: &mut Criterion) {
    const EDGE: usize = 224;
    const PATCH: usize = 16;
    let flex = device("flex").expect("flex");
    let values = std::array::from_fn(|_| std::array::from_fn(|level| level as f32));
    let mut group = slow_group(c, "patches");
    for &batch in Setting::from_environment().batches {
        group.throughput(Throughput::Elements((batch * 3 * EDGE * EDGE) as u64));
        let levels: Vec<u8> = (0..batch * 3 * EDGE * EDGE).map(|i| (31 * i) as u8).collect();
        bench(&mut group, batch, "levels", || kernels::patches_of_levels(&levels, &values, [EDGE; 2], PATCH));
        bench(&mut group, batch, "levels, then f32", || {
            kernels::patches(&kernels::planes(&levels, &values, [EDGE; 2]), [3, EDGE, EDGE], PATCH)
        });
        let (pixels, grid) = (tensor([batch, 3, EDGE, EDGE], &flex), EDGE / PATCH);
        bench(&mut group, batch, "burn", || {
            let parts = pixels.clone().reshape([batch, 3, grid, PATCH, grid, PATCH]).permute([0, 2, 4, 1, 3, 5]);
            parts.reshape([batch, grid * grid, 3 * PATCH * PATCH])
        });
    }
    group.finish();
}

criterion_group!(benches, product, attention_of_tokens, activation, norm, patches);
criterion_main!(benches);
