use chinese_clip::{ChineseClip, Limits, Picture, device};

fn main() -> Result<(), chinese_clip::Error> {
    let clip = ChineseClip::from_pretrained("demo", &device("flex")?)?;
    let picture = Picture::open("crates/model/demo/examples/sunset.png", &Limits::default())?;
    let similarity = clip.similarity(&[picture], &["海边的日落", "三个红色的圆形"])?;
    assert!(similarity.probabilities(0)[0] > 0.9);
    Ok(())
}
