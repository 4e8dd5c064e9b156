//! Products in short numbers on every instruction set of this machine against f64.
#![allow(missing_docs)]

mod common;

use chinese_clip_kernels::{Activation, Bf16Weights, Epilogue, Int8Weights, Isa};
use common::{numbers, pairs};

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

    /// Every number of `max(x * weight + bias, 0) + residual`.
    fn exact(&self) -> impl Iterator<Item = f64> {
        let [m, k, n] = self.dims;
        (0..m * n).map(move |at| {
            let (i, j) = (at / n, at % n);
            let sum: f64 = (0..k).map(|p| f64::from(self.x[i * k + p]) * f64::from(self.weight[p * n + j])).sum();
            (sum + f64::from(self.bias[j])).max(0.0) + f64::from(self.residual[at])
        })
    }

    fn row(&self, i: usize) -> impl Iterator<Item = f64> + Clone {
        self.x[i * self.dims[1]..][..self.dims[1]].iter().map(|x| f64::from(*x))
    }

    fn column(&self, j: usize) -> impl Iterator<Item = f64> + Clone {
        self.weight[j..].iter().step_by(self.dims[2]).map(|x| f64::from(*x))
    }

    fn epilogue(&self) -> Epilogue<'_> {
        Epilogue { bias: &self.bias, activation: Activation::Relu, residual: Some(&self.residual) }
    }

    /// `bound` is of a row and a column.
    fn check(&self, what: &str, found: &[f32], bound: impl Fn(usize, usize) -> f64) {
        assert_eq!(found.len(), self.residual.len());
        for (at, (found, wanted)) in found.iter().zip(self.exact()).enumerate() {
            let (i, j) = (at / self.dims[2], at % self.dims[2]);
            let (distance, bound) = ((f64::from(*found) - wanted).abs(), bound(i, j));
            assert!(distance <= bound, "{what} {:?} at {i}, {j}: {found}, not {wanted} within {bound}", self.dims);
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
            let found: Vec<f32> = weights.affine(isa, &case.x, 0..n, case.epilogue());
            case.check(isa.name(), &found, |_, _| rounding(k));
        }
    }
}

#[test]
fn bf16_products_are_within_their_bound() {
    for isa in Isa::available() {
        for (seed, dims @ [_, k, n]) in SHAPES.into_iter().enumerate() {
            let case = Case::of(seed, dims);
            let found: Vec<f32> = Bf16Weights::pack(&case.weight, k, n).affine(isa, &case.x, 0..n, case.epilogue());
            case.check(isa.name(), &found, |i, j| {
                let size: f64 = case.row(i).zip(case.column(j)).map(|(x, w)| (x * w).abs()).sum();
                size * ((1.0 + 1.0 / 512.0_f64).powi(2) - 1.0) + rounding(k)
            });
        }
    }
}

#[test]
fn bf16_may_come_and_go_in_pairs() {
    for (seed, dims @ [m, k, n]) in SHAPES.into_iter().enumerate() {
        let case = Case::of(seed, dims);
        let weights = Bf16Weights::pack(&case.weight, k, n);
        let rows: Vec<u32> = case.x.chunks(k).flat_map(pairs).collect();
        for isa in Isa::available() {
            let rounded_inside: Vec<f32> = weights.affine(isa, &case.x, 0..n, case.epilogue());
            let rounded_before: Vec<f32> = weights.affine(isa, &rows, 0..n, case.epilogue());
            let rounded_after: Vec<u32> = weights.affine(isa, &rows, 0..n, case.epilogue());
            assert!(rounded_before == rounded_inside, "{} {m} x {k} x {n}", isa.name());
            assert!(rounded_after == pairs(&rounded_inside), "{} {m} x {k} x {n}", isa.name());
        }
    }
}

#[test]
fn products_of_some_columns() {
    let case = Case::of(0, [9, 12, 64]);
    let (bf16, int8) = (Bf16Weights::pack(&case.weight, 12, 64), Int8Weights::pack(&case.weight, 12, 64));
    for isa in Isa::available() {
        let product = |columns: std::ops::Range<usize>| {
            let bias = &case.bias[columns.clone()];
            let epilogue = Epilogue { bias, activation: Activation::Identity, residual: None };
            let of_int8: Vec<f32> = int8.affine(isa, &case.x, columns.clone(), epilogue);
            [bf16.affine(isa, &case.x, columns, epilogue), of_int8]
        };
        for (all, some) in product(0..64).iter().zip(product(16..48)) {
            for (all, some) in all.chunks(64).zip(some.chunks(32)) {
                assert_eq!(all[16..48], *some);
            }
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
            let found: Vec<f32> = weights.affine(isa, &[x, 0.0], 0..16, epilogue);
            assert_eq!((found[0].is_nan(), found[0] > 0.0), (wanted.is_nan(), wanted > 0.0), "{} {x}", isa.name());
        }
    }
}

/// Of activations and weights in steps.
fn quantisation(case: &Case, i: usize, j: usize) -> f64 {
    let (row, column) = (case.row(i), case.column(j));
    let (least, most) = row.clone().fold((0.0, 0.0), |(least, most): (f64, f64), x| (least.min(x), most.max(x)));
    let step = (most - least) / 255.0;
    let scale = column.clone().fold(0.0, |most: f64, w| most.max(w.abs())) / 127.0 * (1.0 + 1.0 / 65536.0); // of 17 bits
    let (x, w): (f64, f64) = (row.map(f64::abs).sum(), column.map(f64::abs).sum());
    scale / 2.0 * x + step / 2.0 * w + case.dims[1] as f64 * scale * step / 4.0
}

#[test]
fn int8_products_are_within_their_bound_and_the_same_everywhere() {
    for (seed, dims @ [_, k, n]) in SHAPES.into_iter().enumerate() {
        let case = Case::of(seed, dims);
        let weights = Int8Weights::pack(&case.weight, k, n);
        let product = |isa| -> Vec<f32> { weights.affine(isa, &case.x, 0..n, case.epilogue()) };
        let all: Vec<_> = Isa::available().into_iter().map(|isa| (isa.name(), product(isa))).collect();
        case.check(all[0].0, &all[0].1, |i, j| quantisation(&case, i, j) * 1.0001 + rounding(k));
        for (isa, found) in &all[1..] {
            assert!(*found == all[0].1, "{isa} {dims:?}");
        }
    }
}

#[test]
fn int8_may_come_and_go_in_pairs_of_bf16() {
    for (seed, dims @ [m, k, n]) in SHAPES.into_iter().enumerate().filter(|(_, [_, k, _])| k.is_multiple_of(2)) {
        let mut case = Case::of(seed, dims);
        case.x.iter_mut().for_each(|x| *x = short(*x));
        let weights = Int8Weights::pack(&case.weight, k, n);
        for isa in Isa::available() {
            let wide: Vec<f32> = weights.affine(isa, &case.x, 0..n, case.epilogue());
            let before: Vec<f32> = weights.affine(isa, &pairs(&case.x), 0..n, case.epilogue());
            let after: Vec<u32> = weights.affine(isa, &case.x, 0..n, case.epilogue());
            assert!(before == wide, "{} {m} x {k} x {n}", isa.name());
            assert!(after == pairs(&wide), "{} {m} x {k} x {n}", isa.name());
        }
    }
}

#[test]
fn int8_products_of_the_largest_numbers() {
    let k = 1 << 16;
    let weights = Int8Weights::pack(&vec![-1.0; k * 16], k, 16);
    let epilogue = Epilogue { bias: &[0.0; 16], activation: Activation::Identity, residual: None };
    for isa in Isa::available() {
        let found: Vec<f32> = weights.affine(isa, &vec![1.0; k], 0..16, epilogue);
        assert!((f64::from(found[5]) / k as f64 + 1.0).abs() < 2e-5, "{} {}", isa.name(), found[5]);
    }
}

#[test]
fn int8_weights_stay_as_they_are_when_packed_again() {
    let weight: Vec<f32> =
        numbers(257 * 32, 5).into_iter().enumerate().map(|(i, w)| w * 1.1_f32.powi(i as i32 % 32)).collect();
    let once = Int8Weights::pack(&weight, 257, 32).unpack();
    assert_ne!(once, weight);
    assert_eq!(Int8Weights::pack(&once, 257, 32).unpack(), once);
}

#[test]
fn int8_keeps_what_is_not_a_number_and_zeros() {
    let weights = Int8Weights::pack(&[1.0; 20 * 16], 20, 16);
    let epilogue = Epilogue { bias: &[0.5; 16], activation: Activation::Identity, residual: None };
    for isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 17, 19] {
                let mut x = [1.0; 40];
                x[at] = bad;
                let found: Vec<f32> = weights.affine(isa, &x, 0..16, epilogue);
                assert!(found[..16].iter().all(|y| y.is_nan()), "{} {bad}", isa.name());
                assert!(found[16..].iter().all(|y| (y - 20.5).abs() < 0.1), "{} {bad}", isa.name());
            }
        }
        let found: Vec<f32> = weights.affine(isa, &[0.0; 20], 0..16, epilogue);
        assert_eq!(found, [0.5; 16], "{}", isa.name());
    }
}
