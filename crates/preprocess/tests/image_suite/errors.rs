//! Files that are no pictures, or too much of one.

use std::error::Error;
use std::path::Path;

use chinese_clip_config::Limits;
use chinese_clip_preprocess::{Picture, PreprocessError};

use crate::folder;

fn message(error: &PreprocessError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

/// Opens a file of these bytes and returns the whole message, which names the path.
fn refused(name: &str, bytes: &[u8]) -> (PreprocessError, String) {
    let folder = std::env::temp_dir().join(format!("chinese-clip-errors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = Picture::open(&path, &Limits::default()).unwrap_err();
    std::fs::remove_file(path).unwrap();
    let message = message(&error);
    assert!(message.contains(name), "{message}");
    (error, message)
}

#[test]
fn what_is_not_a_picture_is_said() {
    for (name, bytes, part) in [
        ("text.png", &b"hello, this is no picture\n"[..], "text that begins with \"hello, this is no"),
        ("chinese.png", "这不是图片".as_bytes(), "text that begins with \"这不是图片\""),
        ("empty.jpg", b"", "the file is empty"),
        ("page.jpg", b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("pointer.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        ("paper.pdf", b"%PDF-1.7\n", "a PDF"),
        ("bytes.bin", &[0, 1, 2, 3, 4, 5, 6, 7, 8], "begin with 00 01 02"),
    ] {
        let (error, message) = refused(name, bytes);
        assert!(message.contains(part), "{message}");
        assert!(error.hint().is_some(), "{message}");
    }
}

#[test]
fn paths_without_a_picture() {
    let limits = Limits::default();
    let missing = Picture::open("no/such/picture.jpg", &limits).unwrap_err();
    assert!(
        matches!(missing, PreprocessError::ReadPicture { .. }) && missing.to_string().contains("no/such/picture.jpg")
    );
    let folder = Picture::open(folder(), &limits).unwrap_err();
    assert!(folder.to_string().contains("is a directory"), "{folder}");
    assert!(folder.hint().is_some());
    if Path::new("/dev/null").exists() {
        let device = Picture::open("/dev/null", &limits).unwrap_err();
        assert!(device.to_string().contains("a device"), "{device}");
    }
}

#[cfg(unix)]
#[test]
fn an_unreadable_file() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("chinese-clip-unreadable-{}.png", std::process::id()));
    std::fs::copy(folder().join("png_rgb8.png"), &path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!("not run: this user may read every file");
    } else {
        let error = Picture::open(&path, &Limits::default()).unwrap_err();
        assert!(matches!(error, PreprocessError::ReadPicture { .. }), "{error}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn truncated_files_are_errors() {
    for name in [
        "jpeg_420.jpg",
        "jpeg_progressive.jpg",
        "jpeg_l.jpg",
        "jpeg_cmyk.jpg",
        "png_rgb8.png",
        "png_p4_interlaced.png",
        "gif_p.gif",
        "bmp_rgb.bmp",
        "bmp_p.bmp",
        "webp_lossy.webp",
        "webp_lossless.webp",
        "tiff_rgb.tif",
        "pnm_rgb.ppm",
        "qoi_rgba.qoi",
        "tga_rgb.tga",
    ] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        for keep in [bytes.len() * 9 / 10, bytes.len() * 2 / 3, bytes.len() / 2, 30] {
            let (error, message) = refused(name, &bytes[..keep]);
            assert!(
                matches!(&error, PreprocessError::InPicture { source, .. } if matches!(**source, PreprocessError::DecodePicture { .. })),
                "{keep} bytes: {message}"
            );
        }
    }
}

#[test]
fn a_jpeg_or_webp_without_its_last_byte_is_refused_and_one_with_more_is_not() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|e| e == "jpg" || e == "webp") {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = Picture::decode(&bytes, &Limits::default()).unwrap();
        let error = Picture::decode(&bytes[..bytes.len() - 1], &Limits::default()).unwrap_err();
        assert!(message(&error).contains("ends too early"), "{}: {}", path.display(), message(&error));
        bytes.extend_from_slice(b"garbage behind the end");
        assert_eq!(Picture::decode(&bytes, &Limits::default()).unwrap(), whole);
    }
}

#[test]
fn bombs_are_refused_before_they_are_allocated() {
    let bomb = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(folder().join(name)).unwrap();
        edit(&mut bytes);
        let error = Picture::decode(&bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, PreprocessError::PicturePixels { .. }), "{name}: {}", message(&error));
        assert!(error.hint().is_some());
    };
    bomb("png_rgb8.png", &|bytes| {
        bytes[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let sum = (crate::common::crc(bytes[12..29].iter().copied()) as u32).to_be_bytes();
        bytes[29..33].copy_from_slice(&sum);
    });
    bomb("gif_p.gif", &|bytes| bytes[6..10].fill(0xff));
    bomb("bmp_p.bmp", &|bytes| bytes[18..26].copy_from_slice(&[0, 0, 1, 0, 0, 0, 1, 0]));
    bomb("bmp_rgb.bmp", &|bytes| bytes[18..26].copy_from_slice(&[0, 0xf0, 0, 0, 0, 0xf0, 0, 0]));
    bomb("tga_rgb.tga", &|bytes| bytes[12..16].fill(0xff));
    bomb("qoi_rgba.qoi", &|bytes| bytes[4..12].copy_from_slice(&[0, 0, 0x3a, 0x98, 0, 0, 0x3a, 0x98]));
    bomb("jpeg_420.jpg", &|bytes| {
        let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
    });
    bomb("pnm_rgb.ppm", &|bytes| {
        bytes.splice(..0, b"P6 65536 65536 255\n".iter().copied());
    });
}

#[test]
fn limits_are_the_callers() {
    let (mut few_pixels, mut few_bytes) = (Limits::default(), Limits::default());
    few_pixels.image_pixels = 29 * 23 - 1;
    few_bytes.image_bytes = 100;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "tiff_p.tif"
            || name.starts_with("size_")
            || name.starts_with("ico")
            || name.ends_with(".rgb")
            || name.ends_with(".json")
        {
            continue;
        }
        let error = Picture::open(&path, &few_pixels).unwrap_err();
        let PreprocessError::InPicture { source, .. } = &error else { panic!("{}", message(&error)) };
        assert!(matches!(**source, PreprocessError::PicturePixels { limit: 666, .. }), "{}", message(&error));
        let message = message(&Picture::open(&path, &few_bytes).unwrap_err());
        assert!(message.contains("100 bytes") && message.contains(&name), "{message}");
    }
}
