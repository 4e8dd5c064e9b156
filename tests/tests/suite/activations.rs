//! Every activation that Hugging Face names, but `prelu`, which has a parameter, against ACT2FN.

use burn::tensor::{Tensor, TensorData};
use chinese_clip::config::Activation;
use chinese_clip_nn::activate;
use chinese_clip_tests::{Arrays, Tolerance, assert_close, devices};

#[test]
fn every_activation_equals_the_reference() {
    let arrays = Arrays::golden("activations.safetensors");
    let (grid, _) = arrays.f32("x");
    // Values reach 1e8 (relu2 of 1e4), so the bound is on each element: 1e-6 of its size, 4 units of the last place of f32,
    // beside 1e-6 for where the reference itself cancels.
    for device in devices() {
        for activation in Activation::ALL {
            let name = serde_json::to_value(activation).unwrap().as_str().unwrap().to_string();
            let x = Tensor::<1>::from_data(TensorData::new(grid.clone(), [grid.len()]), &device);
            let found: Vec<f32> = activate(activation, x).into_data().try_to_vec().unwrap();
            let (expected, _) = arrays.f32(&name);
            for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
                let tolerance = Tolerance { atol: 1e-6 + 1e-6 * e.abs(), rtol: 0.0, cosine: -1.0 };
                assert_close(&format!("{name}({})", grid[i]), &[*f], &[*e], &[1], tolerance);
            }
        }
    }
    let known = Activation::ALL.len() + 1;
    assert_eq!(arrays.names().len(), known, "the goldens hold x and one array for each activation");
}
