//! What `bench` measures with: a picture of a photograph's size and detail, and sentences as people write them.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};

use crate::error::CliError;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
/// Of the JPEG; with it the file has about 60 kB, as a photograph of this size has.
const QUALITY: u8 = 85;

/// Captions of ordinary length.
pub(super) const TEXTS: [&str; 24] = [
    "一只黑白相间的小猫坐在窗台上看着外面的雪景",
    "两个孩子在沙滩上堆沙堡,远处有一艘白色的帆船",
    "傍晚的城市天际线,高楼的玻璃映着橙红色的晚霞",
    "一位老人在公园的长椅上看报纸,脚边趴着一条黄狗",
    "木桌上放着一杯热咖啡和一块刚切开的巧克力蛋糕",
    "雨后的石板路上,一个撑红伞的女孩慢慢走过",
    "高山湖泊倒映着雪峰,岸边停着几只小木船",
    "厨师在热气腾腾的厨房里把面条甩向空中",
    "一辆绿色的老式自行车靠在爬满常春藤的砖墙上",
    "足球运动员在雨中射门,守门员向左侧扑去",
    "图书馆里一排排高高的书架,阳光从天窗照下来",
    "农民在金黄色的稻田里收割,天上飘着几朵白云",
    "夜市的小吃摊前挤满了人,灯笼把街道照得通红",
    "一群大雁排成人字形飞过秋天的湖面",
    "穿白大褂的医生正在向病人解释检查结果",
    "高速列车穿过开满油菜花的山谷",
    "小男孩戴着大大的眼镜,认真地拼装机器人",
    "古老的寺庙隐藏在云雾缭绕的山林之中",
    "白色背景上的一双蓝色运动鞋,鞋底是橡胶的",
    "新款女士羊毛大衣,中长款,宽松显瘦,驼色",
    "熊猫妈妈抱着刚出生不久的幼崽坐在竹林里",
    "宇航员在空间站里透过舷窗拍摄地球的夜景",
    "街角的面包店刚刚开门,橱窗里摆满了法棍和可颂",
    "冬天的早晨,湖边的芦苇上结了一层薄薄的霜",
];

/// A landscape of clouds and ground, the same in each run, as JPEG.
pub(super) fn jpeg() -> Result<Vec<u8>, CliError> {
    let picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let (light, tint) = (detail(x, y, 1), detail(x / 2, y / 2, 2));
        let height = y as f32 / HEIGHT as f32;
        Rgb([0.35 + 0.4 * height, 0.5, 0.75 - 0.5 * height]
            .map(|base: f32| ((base + 0.9 * (light - 0.5)) * (0.8 + 0.4 * tint) * 255.0) as u8))
    });
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(&picture)
        .map_err(|source| CliError::TestPicture { source })?;
    Ok(bytes.into_inner())
}

/// Noise of which coarse structure is stronger than fine, as in photographs: a value from 0 to 1.
fn detail(x: u32, y: u32, seed: u32) -> f32 {
    let (sum, weights) = (0..8).fold((0.0, 0.0), |(sum, weights), octave| {
        let cell = 1 << octave;
        let weight = (cell as f32).powf(0.3);
        (sum + weight * smooth(x, y, cell, seed + octave), weights + weight)
    });
    sum / weights
}

/// Random values at the corners of cells, and between them in proportion.
fn smooth(x: u32, y: u32, cell: u32, seed: u32) -> f32 {
    let (column, row) = (x / cell, y / cell);
    let [right, down] = [x, y].map(|at| (at % cell) as f32 / cell as f32);
    let corner = |dx, dy| hash(column + dx, row + dy, seed);
    let between = |a: f32, b: f32, part: f32| a + (b - a) * part;
    between(between(corner(0, 0), corner(1, 0), right), between(corner(0, 1), corner(1, 1), right), down)
}

/// A random value from 0 to 1 for each place.
fn hash(x: u32, y: u32, seed: u32) -> f32 {
    let mut bits = x.wrapping_mul(0x9e37_79b1) ^ y.wrapping_mul(0x85eb_ca77) ^ seed.wrapping_mul(0xc2b2_ae3d);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297a_2d39);
    (bits ^ (bits >> 15)) as f32 / u32::MAX as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_the_detail_of_a_photograph() {
        let bytes = jpeg().unwrap();
        assert!((50_000..70_000).contains(&bytes.len()), "{} bytes", bytes.len());
        let picture = image::load_from_memory(&bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (WIDTH, HEIGHT));
    }
}
