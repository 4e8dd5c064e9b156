//! Nearest neighbour: Pillow 13.0.0, `src/libImaging/Geometry.c`, `ImagingScaleAffine`.

/// The input position of each output position; `None` where the accumulated rounding leaves the picture.
fn positions(from: usize, to: usize) -> Vec<Option<usize>> {
    let scale = from as f64 / to as f64;
    // The reference adds the scale up, and so accumulates its rounding.
    std::iter::successors(Some(scale * 0.5), |position| Some(position + scale))
        .take(to)
        .map(|position| Some(position as usize).filter(|position| *position < from))
        .collect()
}

/// `[H, W, C] -> [H', W', C]`, any sample type.
pub(super) fn nearest<T: Copy + Default>(
    src: &[T],
    channels: usize,
    from: (usize, usize),
    to: (usize, usize),
) -> Vec<T> {
    let (columns, rows) = (positions(from.0, to.0), positions(from.1, to.1));
    let mut out = vec![T::default(); to.0 * to.1 * channels];
    for (row, out) in rows.iter().zip(out.chunks_exact_mut(to.0 * channels)) {
        let Some(row) = row else { continue };
        let src = &src[row * from.0 * channels..][..from.0 * channels];
        for (column, out) in columns.iter().zip(out.chunks_exact_mut(channels)) {
            if let Some(column) = column {
                out.copy_from_slice(&src[column * channels..][..channels]);
            }
        }
    }
    out
}
