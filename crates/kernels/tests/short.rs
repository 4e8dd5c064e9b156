//! Products in short numbers on every instruction set of this machine against f64.
#![allow(missing_docs)]

mod common;

use chinese_clip_kernels::{Activation, Bf16Weights, Epilogue, Isa};
use common::numbers;

/// M, K and N: one row and odd K, tiles and blocks that are not full, one panel and more than a tile of them.
const SHAPES: [[usize; 3]; 7] =
    [[1, 1, 16], [1, 7, 32], [5, 256, 16], [6, 257, 48], [13, 700, 64], [241, 33, 80], [300, 64, 512]];

/// A number that bf16 has.
fn short(x: f32) -> f32 {
    (x * 256.0).round() / 256.0
}

struct Case {
    dims: [usize; 3],
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl Case {
    fn of(seed: usize, dims: [usize; 3]) -> Self {
        let ([m, k, n], seed) = (dims, seed as u64 * 10);
        let of = |count, number| numbers(count, seed + number);
        Self { dims, x: of(m * k, 0), weight: of(k * n, 1), bias: of(n, 2), residual: of(m * n, 3) }
    }

    /// Every number of `max(x * weight + bias, 0) + residual`, and the sum of the magnitudes of its products.
    fn exact(&self) -> impl Iterator<Item = (f64, f64)> {
        let [m, k, n] = self.dims;
        (0..m * n).map(move |at| {
            let (i, j) = (at / n, at % n);
            let products = (0..k).map(|p| f64::from(self.x[i * k + p]) * f64::from(self.weight[p * n + j]));
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()));
            ((sum + f64::from(self.bias[j])).max(0.0) + f64::from(self.residual[at]), size)
        })
    }

    fn epilogue(&self) -> Epilogue<'_> {
        Epilogue { bias: &self.bias, activation: Activation::Relu, residual: Some(&self.residual) }
    }

    fn check(&self, what: &str, found: &[f32], bound: impl Fn(f64) -> f64) {
        assert_eq!(found.len(), self.residual.len());
        for (at, (found, (wanted, size))) in found.iter().zip(self.exact()).enumerate() {
            let distance = (f64::from(*found) - wanted).abs();
            assert!(distance <= bound(size), "{what} {:?} at {at}: {found}, not {wanted}", self.dims);
        }
    }
}

/// What f32 sums of `k` products, a bias and a residual, all at most 1, are off.
fn rounding(k: usize) -> f64 {
    1e-7 * (k as f64 + 16.0)
}

#[test]
fn bf16_products_of_numbers_that_bf16_has() {
    for isa in Isa::available() {
        for (seed, dims @ [_, k, n]) in SHAPES.into_iter().enumerate() {
            let mut case = Case::of(seed, dims);
            [&mut case.x, &mut case.weight].into_iter().flatten().for_each(|x| *x = short(*x));
            let weights = Bf16Weights::pack(&case.weight, k, n);
            assert_eq!((weights.dims(), weights.unpack()), ([k, n], case.weight.clone()));
            let found = weights.affine(isa, &case.x, 0..n, case.epilogue());
            case.check(isa.name(), &found, |_| rounding(k));
        }
    }
}

#[test]
fn bf16_products_are_within_their_bound() {
    for isa in Isa::available() {
        for (seed, dims @ [_, k, n]) in SHAPES.into_iter().enumerate() {
            let case = Case::of(seed, dims);
            let found = Bf16Weights::pack(&case.weight, k, n).affine(isa, &case.x, 0..n, case.epilogue());
            case.check(isa.name(), &found, |size| size * (1.0 + 1.0 / 512.0_f64).powi(2) - size + rounding(k));
        }
    }
}

#[test]
fn bf16_products_of_some_columns() {
    let case = Case::of(0, [9, 12, 64]);
    let weights = Bf16Weights::pack(&case.weight, 12, 64);
    for isa in Isa::available() {
        let product = |columns: std::ops::Range<usize>| {
            let bias = &case.bias[columns.clone()];
            weights.affine(isa, &case.x, columns, Epilogue { bias, activation: Activation::Identity, residual: None })
        };
        let (all, some) = (product(0..64), product(16..48));
        for (all, some) in all.chunks(64).zip(some.chunks(32)) {
            assert_eq!(all[16..48], *some);
        }
    }
}

#[test]
fn bf16_keeps_what_is_not_a_number() {
    let weights = Bf16Weights::pack(&[1.0; 2 * 16], 2, 16);
    let epilogue = Epilogue { bias: &[0.0; 16], activation: Activation::Identity, residual: None };
    for isa in Isa::available() {
        let signalling = f32::from_bits(0x7f80_0001); // all its digits are in the lower half
        for (x, wanted) in [(signalling, f32::NAN), (f32::INFINITY, f32::INFINITY), (f32::MAX, f32::INFINITY)] {
            let found = weights.affine(isa, &[x, 0.0], 0..16, epilogue);
            assert_eq!((found[0].is_nan(), found[0] > 0.0), (wanted.is_nan(), wanted > 0.0), "{} {x}", isa.name());
        }
    }
}
