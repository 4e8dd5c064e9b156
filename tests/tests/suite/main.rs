//! All suites in one program: on a GPU backend they share its compiled and tuned kernels.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod activations;
mod backbone;
mod backends;
mod demo;
mod initialization;
mod invariants;
mod joint_model;
mod loading;
mod real_size;
mod saving;
mod text_model;
mod text_states;
mod towers;
mod vision_model;
