//! Names of intermediates, and the means to look at them.
//!
//! Names are paths: `text.layer.3.attention.output`. Goldens and docs use the same ones.

use std::fmt::Display;

use burn::tensor::Tensor;

/// One recorded tensor of any rank.
#[derive(Debug, Clone)]
pub struct Intermediate {
    /// Path of the value.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    values: Tensor<1>,
}

impl Intermediate {
    /// The values, row by row, as one dimension.
    pub fn flat(&self) -> Tensor<1> {
        self.values.clone()
    }
}

/// Keeps intermediates of a forward pass, or, when it is [`off`](Self::off), drops them unseen.
#[derive(Debug, Default)]
pub struct Recorder {
    on: bool,
    scope: String,
    kept: Vec<Intermediate>,
}

impl Recorder {
    /// Keeps nothing and costs nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Keeps every intermediate.
    pub fn on() -> Self {
        Self { on: true, ..Self::default() }
    }

    /// What was kept, in the order of computation.
    pub fn into_kept(self) -> Vec<Intermediate> {
        self.kept
    }

    /// Runs `body` with `part` appended to the path.
    pub fn scope<T>(&mut self, part: impl Display, body: impl FnOnce(&mut Self) -> T) -> T {
        if !self.on {
            return body(self);
        }
        let outer = self.scope.len();
        self.scope = format!("{}{part}.", self.scope);
        let result = body(self);
        self.scope.truncate(outer);
        result
    }

    /// Keeps `x` under the path and `name`, and hands it back.
    pub fn record<const D: usize>(&mut self, name: &str, x: Tensor<D>) -> Tensor<D> {
        if self.on {
            let shape = x.dims().to_vec();
            let values = x.clone().reshape([shape.iter().product::<usize>()]);
            self.kept.push(Intermediate { name: format!("{}{name}", self.scope), shape, values });
        }
        x
    }
}
