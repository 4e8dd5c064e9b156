//! Every kernel on every instruction set of this machine against f64.
#![allow(missing_docs, clippy::cast_possible_truncation)]

mod common;

use chinese_clip_kernels::{
    Activation, Attention, Element, Epilogue, Isa, LayerNorm, PANEL, Rows, activate, affine, attention, layer_norm,
    on_threads, pack, pack_rows, patches, patches_of_levels, planes,
};
use common::{numbers, pairs, widened};

/// Of [`Activation::Gelu`] by the series and the continued fraction of the error function.
fn gelu(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let erfc = if z < 2.5 {
        let (mut term, mut sum, mut n) = (z, z, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..200).rev().fold(z, |fraction, n| z + f64::from(n) / 2.0 / fraction);
        (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    if x < 0.0 { x * erfc / 2.0 } else { x - x * erfc / 2.0 }
}

fn exact(activation: Activation, x: f64) -> f64 {
    let sigmoid = |y: f64| 1.0 / (1.0 + (-y).exp());
    match activation {
        Activation::Identity => x,
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Relu => x.max(0.0),
        Activation::Silu => x * sigmoid(x),
    }
}

const ALL: [Activation; 6] = [
    Activation::Identity,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::QuickGelu,
    Activation::Relu,
    Activation::Silu,
];

/// In units of the last place of the exact value.
fn ulps(found: f32, exact: f64) -> f64 {
    let near = (exact as f32).abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(f32::from_bits(near.to_bits() + 1) - near);
    (f64::from(found) - exact).abs() / unit
}

#[test]
#[cfg(target_arch = "aarch64")]
fn every_processor_of_this_architecture_has_neon() {
    assert_eq!(Isa::available().into_iter().map(Isa::name).collect::<Vec<_>>(), ["portable", "neon"]);
}

#[test]
fn activations_are_accurate_over_their_range() {
    for isa in Isa::available() {
        for activation in ALL {
            let x: Vec<f32> = (-60_000..=60_000).map(|i| i as f32 * 5e-4).chain([1e-20, -1e-20]).collect();
            let mut y = x.clone();
            activate(isa, activation, &mut y);
            for (x, y) in x.iter().zip(&y) {
                let exact = exact(activation, f64::from(*x));
                let distance = if exact.abs() < 1e-30 { f64::from(y.abs()) / 1e-30 } else { ulps(*y, exact) };
                // Stated at `Activation`.
                let bound = 8.0 + 4.0 * f64::from(x * x);
                assert!(distance <= bound, "{} {activation:?}: {distance} ulp at {x}", isa.name());
            }
        }
    }
}

#[test]
fn activations_of_special_numbers() {
    for isa in Isa::available() {
        for activation in ALL {
            let mut y = [f32::NAN, f32::INFINITY, 0.0, -0.0, 1e30, f32::MIN_POSITIVE];
            activate(isa, activation, &mut y);
            assert!(y[0].is_nan(), "{} {activation:?}", isa.name());
            assert_eq!((y[1], y[2], y[3], y[4]), (f32::INFINITY, 0.0, 0.0, 1e30), "{} {activation:?}", isa.name());
            assert!(y[5] <= f32::MIN_POSITIVE);
        }
    }
}

#[test]
fn products_of_any_shape() {
    let shapes = [
        (1, 1, 16),
        (1, 7, 32),
        (5, 256, 16),
        (6, 257, 48),
        (27, 1700, 48),
        (241, 33, 80),
        (241, 800, 16),
        (241, 800, 48),
        (300, 64, 512),
        (70, 37, 48),
        (129, 1601, 16),
    ];
    for isa in Isa::available() {
        for (seed, (m, k, n)) in shapes.into_iter().enumerate() {
            let seed = seed as u64 * 10;
            let (x, weight) = (numbers(m * k, seed), numbers(k * n, seed + 1));
            let (bias, residual) = (numbers(n, seed + 2), numbers(m * n, seed + 3));
            let panels = pack(&weight, k, n);
            for (activation, residual) in ALL.into_iter().flat_map(|a| [(a, None), (a, Some(&residual[..]))]) {
                let found = affine(isa, &x, k, &panels, Epilogue { bias: &bias, activation, residual });
                assert_eq!(found.len(), m * n);
                for (at, found) in found.iter().enumerate() {
                    let (i, j) = (at / n, at % n);
                    let products = (0..k).map(|p| f64::from(x[i * k + p]) * f64::from(weight[p * n + j]));
                    let sum = exact(activation, products.sum::<f64>() + f64::from(bias[j]));
                    let wanted = sum + residual.map_or(0.0, |residual| f64::from(residual[at]));
                    // Sums of k products below 1, rounded k times.
                    let bound = 1e-7 * (k as f64 + 16.0);
                    assert!((f64::from(*found) - wanted).abs() < bound, "{} {m}x{k}x{n} at {i}, {j}", isa.name());
                }
            }
        }
    }
}

/// Of sums whose products are exact or nearly so.
#[test]
fn products_are_as_near_as_rounding_allows() {
    for isa in Isa::available() {
        for (m, k, n) in [(8, 700, 64), (70, 700, 64), (65, 1600, 800), (300, 900, 48)] {
            let (x, weight) = (numbers(m * k, 1), numbers(k * n, 2));
            let epilogue = Epilogue { bias: &vec![0.0; n], activation: Activation::Identity, residual: None };
            let found = affine(isa, &x, k, &pack(&weight, k, n), epilogue);
            let (mut errors, mut squares) = (0.0, 0.0);
            for (row, found) in x.chunks_exact(k).zip(found.chunks_exact(n)) {
                let mut wanted = vec![0.0; n];
                for (x, weights) in row.iter().zip(weight.chunks_exact(n)) {
                    wanted.iter_mut().zip(weights).for_each(|(sum, w)| *sum += f64::from(*x) * f64::from(*w));
                }
                for (found, wanted) in found.iter().zip(&wanted) {
                    errors += (f64::from(*found) - wanted).powi(2);
                    squares += wanted * wanted;
                }
            }
            // Each rounding moves a sum by 2^-25 of it, in either direction.
            let bound = 0.5 * (k as f64).sqrt() / f64::from(1 << 24);
            let distance = (errors / squares).sqrt();
            assert!(distance < bound, "{} {m}x{k}x{n}: {distance:e}, at most {bound:e}", isa.name());
        }
    }
}

#[test]
fn a_nan_spoils_its_row_alone() {
    let (m, k) = (80, 50);
    let panels = pack(&numbers(k * PANEL, 1), k, PANEL);
    let epilogue = Epilogue { bias: &[0.0; PANEL], activation: Activation::Identity, residual: None };
    for isa in Isa::available() {
        for bits in [0x7fc0_0000, 0x7fff_ffff, 0xffff_ffff, 0x7f80_0001, 0xff80_0000] {
            let mut x = numbers(m * k, 2);
            x[37 * k + 49] = f32::from_bits(bits);
            for (row, found) in affine(isa, &x, k, &panels, epilogue).chunks_exact(PANEL).enumerate() {
                let right = |y: &f32| if row == 37 { !y.is_finite() } else { y.is_finite() };
                assert!(found.iter().all(right), "{} {bits:x}: row {row}", isa.name());
            }
        }
    }
}

#[test]
fn rows_of_any_width_are_normalised() {
    for isa in Isa::available() {
        for (seed, (rows, width, middle)) in
            [(1, 1, 0.0), (3, 7, 0.0), (20, 64, 3.0), (17, 100, -40.0), (9, 768, 0.3), (2, 1029, 1e3)]
                .into_iter()
                .enumerate()
        {
            let x: Vec<f32> = numbers(rows * width, seed as u64).into_iter().map(|x| x + middle).collect();
            let (scale, shift) = (numbers(width, 50), numbers(width, 51));
            for epsilon in [1e-12, 1e-5] {
                let norm = LayerNorm { scale: &scale, shift: &shift, epsilon };
                let found: Vec<f32> = layer_norm(isa, &x, norm);
                assert_eq!(found.len(), x.len());
                if width % 2 == 0 {
                    assert!(layer_norm::<u32>(isa, &x, norm) == pairs(&found), "{} {rows}x{width}", isa.name());
                }
                for (x, found) in x.chunks_exact(width).zip(found.chunks_exact(width)) {
                    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                    let squares = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>();
                    let deviation = (squares / width as f64 + f64::from(epsilon)).sqrt();
                    for (j, found) in found.iter().enumerate() {
                        let (scale, shift) = (f64::from(scale[j]), f64::from(shift[j]));
                        let wanted = (f64::from(x[j]) - mean) / deviation * scale + shift;
                        // Stated at `LayerNorm`.
                        let bound = (1.0 + mean.abs() / deviation) * (scale.abs() + wanted.abs()) / f64::from(1 << 20);
                        let distance = (f64::from(*found) - wanted).abs();
                        assert!(distance <= bound, "{} {rows}x{width}: {found} instead of {wanted}", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_with_nan_is_nan_alone() {
    for isa in Isa::available() {
        let mut x = numbers(3 * 40, 1);
        (x[41], x[85]) = (f32::NAN, f32::INFINITY);
        let y: Vec<f32> = layer_norm(isa, &x, LayerNorm { scale: &[1.0; 40], shift: &[0.0; 40], epsilon: 1e-5 });
        assert!(y[..40].iter().all(|y| y.is_finite()) && y[40..].iter().all(|y| y.is_nan()), "{}", isa.name());
    }
}

#[test]
fn rows_are_packed_as_their_transpose_is() {
    for (parts, inputs, outputs) in [(1, 1, 16), (1, 37, 48), (3, 50, 48), (2, 5, 32)] {
        let rows = numbers(inputs * outputs, 7);
        let transposed: Vec<f32> = (0..rows.len()).map(|at| rows[at % outputs * inputs + at / outputs]).collect();
        let parts: Vec<&[f32]> = rows.chunks(rows.len() / parts).collect();
        assert_eq!(pack_rows(&parts, inputs), pack(&transposed, inputs, outputs));
    }
}

#[test]
fn no_rows_give_no_rows() {
    let panels = pack(&[0.5; 32], 2, PANEL);
    let epilogue = Epilogue { bias: &[0.0; PANEL], activation: Activation::Identity, residual: None };
    assert!(affine(Isa::current(), &[], 2, &panels, epilogue).is_empty());
}

#[test]
#[should_panic(expected = "weights of another shape")]
fn weights_of_another_shape_are_refused() {
    let epilogue = Epilogue { bias: &[0.0; PANEL], activation: Activation::Identity, residual: None };
    affine(Isa::current(), &[1.0; 4], 2, &[0.0; 16], epilogue);
}

/// Sizes of B, Q, L, H, E.
const SEQUENCES: [[usize; 5]; 9] = [
    [1, 1, 1, 1, 1],
    [1, 1, 1, 1, 2],
    [2, 9, 11, 3, 6],
    [2, 10, 10, 3, 5],
    [3, 20, 52, 2, 64],
    [1, 13, 197, 2, 64],
    [2, 1, 50, 4, 80],
    [1, 5, 577, 1, 64],
    [2, 7, 33, 3, 16],
];

#[test]
fn attention_of_any_shape() {
    for isa in Isa::available() {
        check_attention(isa, <[f32]>::to_vec, <[f32]>::to_vec, 2e-6);
        // Of numbers that bf16 has, the weights and the result are rounded, each by 2^-9 of itself.
        check_attention(isa, pairs, widened, 2.0 / 512.0 + 2e-6);
    }
}

fn check_attention<T: Element>(isa: Isa, kept: fn(&[f32]) -> Vec<T>, numbers_of: fn(&[T]) -> Vec<f32>, bound: f64) {
    let numbers = |count, seed| numbers(count, seed).into_iter().map(common::bf16).collect::<Vec<f32>>();
    for (seed, [b, q, l, h, e]) in SEQUENCES.into_iter().enumerate() {
        if e % T::COUNT > 0 {
            continue;
        }
        let d = h * e;
        let (queries, both) = (numbers(b * q * d, seed as u64), numbers(b * l * 2 * d, seed as u64 + 100));
        let (queries_kept, both_kept) = (kept(&queries), kept(&both));
        // The first keys of the first sequence count, and no key of the last one does.
        let hidden = |at: usize| (at / l + 1 == b && b > 1) || (at / l == 0 && at % l > l / 2);
        let bias: Vec<f32> = (0..b * l).map(|at| if hidden(at) { f32::MIN / 2.0 } else { 0.0 }).collect();
        for bias in [None, Some(&bias[..])] {
            let in_kept = |count: usize| count / T::COUNT;
            let side = |from: usize| Rows {
                elements: &both_kept[in_kept(from)..],
                row: in_kept(2 * d),
                sequence: in_kept(l * 2 * d),
            };
            let inputs = Attention {
                queries: Rows { elements: &queries_kept, row: in_kept(d), sequence: in_kept(q * d) },
                keys: side(0),
                values: side(d),
                bias: bias.map(|numbers| Rows { elements: numbers, row: 0, sequence: l }),
                lengths: [b, q, l],
                heads: h,
                width: e,
            };
            let found = numbers_of(&attention(isa, &[inputs]));
            assert_eq!(found.len(), b * q * d);
            for (at, found) in found.iter().enumerate() {
                let (s, row, column) = (at / (q * d), at / d % q, at % d);
                let first = column / e * e;
                let key = |key: usize, j: usize| f64::from(both[(s * l + key) * 2 * d + j]);
                let score = |k: usize| {
                    let products = (first..first + e).map(|j| f64::from(queries[(s * q + row) * d + j]) * key(k, j));
                    // As f32 has it: a hidden key loses its score, so that a row of them is uniform.
                    let score = products.sum::<f64>() / (e as f64).sqrt();
                    bias.map_or(score, |bias| f64::from(score as f32 + bias[s * l + k]))
                };
                let scores: Vec<f64> = (0..l).map(score).collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
                let total: f64 = weights.iter().sum();
                let wanted: f64 = weights.iter().enumerate().map(|(k, w)| w / total * key(k, d + column)).sum();
                let case = format!("{} {} {b} {q} {l} {h} {e}", isa.name(), std::any::type_name::<T>());
                assert!((f64::from(*found) - wanted).abs() < bound, "{case} at {at}: {found} instead of {wanted}");
            }
        }
    }
}

#[test]
fn batches_of_different_lengths_are_computed_each_for_itself() {
    let (heads, width) = (3, 20);
    let d = heads * width;
    let sides = [numbers(100 * d, 1), numbers(100 * d, 2), numbers(100 * d, 3)];
    for isa in Isa::available() {
        check_batches(isa, &sides, heads, width);
        check_batches(isa, &sides.each_ref().map(|side| pairs(side)), heads, width);
    }
}

fn check_batches<T: Element + PartialEq>(isa: Isa, [queries, keys, values]: &[Vec<T>; 3], heads: usize, width: usize) {
    let d = heads * width / T::COUNT;
    let batches: Vec<Attention<'_, T>> = [(0, 1, 1), (1, 30, 2), (31, 2, 47), (33, 1, 52)]
        .into_iter()
        .map(|(from, q, l)| {
            let rows = |numbers| Rows { elements: numbers, row: d, sequence: 0 };
            Attention {
                queries: rows(&queries[from * d..]),
                keys: rows(&keys[from * d..]),
                values: rows(&values[from * d..]),
                bias: None,
                lengths: [1, q, l],
                heads,
                width,
            }
        })
        .collect();
    let alone: Vec<T> = batches.iter().flat_map(|batch| attention(isa, &[*batch])).collect();
    assert!(attention(isa, &batches) == alone, "{} {}", isa.name(), std::any::type_name::<T>());
}

#[test]
fn what_is_left_in_scratch_does_not_show() {
    let d = 22;
    let (noise, nothing) = (numbers(50 * d, 4), vec![f32::NAN; 50 * d]);
    for isa in Isa::available() {
        check_scratch(isa, &noise, &nothing, d, <[f32]>::to_vec);
        check_scratch(isa, &pairs(&noise), &pairs(&nothing), d, widened);
    }
}

fn check_scratch<T: Element>(isa: Isa, noise: &[T], nothing: &[T], d: usize, numbers_of: fn(&[T]) -> Vec<f32>) {
    let batch = |numbers, q, l| {
        let rows = Rows { elements: numbers, row: d / T::COUNT, sequence: 0 };
        Attention { queries: rows, keys: rows, values: rows, bias: None, lengths: [1, q, l], heads: 1, width: d }
    };
    // On a thread of the pool, many tasks follow each other with the same scratch.
    let pair = [batch(nothing, 50, 50), batch(noise, 9, 33)];
    let alone = numbers_of(&attention(isa, &pair[1..]));
    let found = numbers_of(&on_threads(|| attention(isa, &pair.repeat(16))));
    for of_pair in found.chunks_exact(59 * d) {
        assert!(of_pair[..50 * d].iter().all(|x| x.is_nan()), "{}", isa.name());
        assert_eq!(of_pair[50 * d..], alone, "{}", isa.name());
    }
}

#[test]
fn patches_of_any_picture() {
    for [b, c, height, width, p] in [[1, 1, 1, 1, 1], [2, 3, 8, 8, 4], [1, 3, 11, 7, 3], [3, 2, 5, 14, 5]] {
        let (pixels, down, across) = (numbers(b * c * height * width, 9), height / p, width / p);
        let found = patches(&pixels, [c, height, width], p);
        let mut rows = found.chunks_exact(c * p * p);
        for picture in pixels.chunks_exact(c * height * width) {
            assert!(rows.next().unwrap().iter().all(|x| *x == 0.0));
            for patch in 0..down * across {
                let (top, left) = (patch / across * p, patch % across * p);
                let wanted = (0..c * p * p).map(|at| {
                    let (channel, y, x) = (at / (p * p), top + at / p % p, left + at % p);
                    picture[(channel * height + y) * width + x]
                });
                assert!(rows.next().unwrap().iter().copied().eq(wanted), "{b} {c} {height} {width} {p}: {patch}");
            }
        }
        assert!(rows.next().is_none());
    }
}

#[test]
fn levels_become_their_values() {
    let of_level = |channel: usize, level: u8| (1000 * channel + usize::from(level)) as f32 / 7.0;
    let values = std::array::from_fn(|channel| std::array::from_fn(|level| of_level(channel, level as u8)));
    for [b, height, width, p] in [[1, 1, 1, 1], [2, 8, 8, 4], [1, 11, 7, 3], [3, 5, 14, 5], [1, 40, 33, 16]] {
        let plane = height * width;
        let levels: Vec<u8> = (0..b * plane * 3).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let value = |i: usize| {
            let (picture, channel, at) = (i / (3 * plane), i / plane % 3, i % plane);
            of_level(channel, levels[(picture * plane + at) * 3 + channel])
        };
        let pixels: Vec<f32> = (0..levels.len()).map(value).collect();
        assert_eq!(planes(&levels, &values, [height, width]), pixels);
        let found = patches_of_levels(&levels, &values, [height, width], p);
        assert_eq!(found, patches(&pixels, [3, height, width], p), "{b} {height} {width} {p}");
    }
}
