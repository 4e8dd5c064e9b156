//! Inputs that the benches share. Names of benches are `stage/size/batch/backend`.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

/// A picture of `width` by `height` pixels with gradients and texture, as JPEG.
///
/// # Panics
/// If the encoder fails, which it does not in memory.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let texture = |x: u32, y: u32| ((x * 7 + y * 13) % 61) as u8;
    let picture = RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90 + texture(x, y)])
    });
    let mut bytes = Vec::new();
    let written = picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg);
    assert!(written.is_ok(), "encoding in memory: {written:?}");
    bytes
}

/// A Chinese text of `characters` characters.
pub fn text(characters: usize) -> String {
    "一只黑白相间的小猫坐在窗台上看着外面的雪景".chars().cycle().take(characters).collect()
}
