//! EXIF orientation: Pillow 13.0.0, `PIL/ImageOps.py`, `exif_transpose`.
//!
//! Shapes: H, W rows and columns; C channels.

/// How the stored picture has to be turned to stand upright, by the codes of EXIF tag 0x0112.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Orientation {
    /// 1: as it is. Also what any other value means.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    Mirrored,
    /// 3: turned by 180 degrees.
    HalfTurn,
    /// 4: mirrored top to bottom.
    Flipped,
    /// 5: rows and columns swapped.
    Transposed,
    /// 6: to be turned by 90 degrees clockwise.
    Clockwise,
    /// 7: swapped along the other diagonal.
    Transverse,
    /// 8: to be turned by 90 degrees counterclockwise.
    Counterclockwise,
}

impl Orientation {
    /// From the value of the EXIF tag.
    pub fn from_exif(code: u16) -> Self {
        match code {
            2 => Self::Mirrored,
            3 => Self::HalfTurn,
            4 => Self::Flipped,
            5 => Self::Transposed,
            6 => Self::Clockwise,
            7 => Self::Transverse,
            8 => Self::Counterclockwise,
            _ => Self::Upright,
        }
    }

    /// Whether width and height change places.
    pub fn swaps_axes(self) -> bool {
        matches!(self, Self::Transposed | Self::Clockwise | Self::Transverse | Self::Counterclockwise)
    }

    /// Turns samples upright: `[H, W, C] -> [H, W, C]` or `[W, H, C]`.
    pub(super) fn apply<T: Copy + Default, const C: usize>(self, pixels: &[T], width: usize) -> Vec<T> {
        let (pixels, _) = pixels.as_chunks::<C>();
        let height = pixels.len() / width.max(1);
        let mut out = vec![[T::default(); C]; pixels.len()];
        let (out_width, out_height) = if self.swaps_axes() { (height, width) } else { (width, height) };
        let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
        for y in 0..out_height {
            // Where the row starts in the stored picture, and in which direction it runs.
            let (x0, y0, along_columns, back) = match self {
                Self::Upright => (0, y, false, false),
                Self::Mirrored => (right, y, false, true),
                Self::HalfTurn => (right, bottom - y, false, true),
                Self::Flipped => (0, bottom - y, false, false),
                Self::Transposed => (y, 0, true, false),
                Self::Clockwise => (y, bottom, true, true),
                Self::Transverse => (right - y, bottom, true, true),
                Self::Counterclockwise => (right - y, 0, true, false),
            };
            let start = y0 * width + x0;
            let step = if along_columns { width } else { 1 };
            for (x, out) in out[y * out_width..(y + 1) * out_width].iter_mut().enumerate() {
                *out = pixels[if back { start - x * step } else { start + x * step }];
            }
        }
        out.into_flattened()
    }
}

/// The orientation in a raw EXIF block (a TIFF header and its first directory).
fn of_exif(exif: &[u8]) -> Option<Orientation> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    let entries = usize::from(u16_at(directory)?);
    let entry = (0..entries)
        .filter_map(|i| directory.checked_add(2 + 12 * i))
        .take_while(|at| *at < exif.len())
        .find(|at| u16_at(*at) == Some(0x0112))?;
    let code = match u16_at(entry.checked_add(2)?)? {
        4 => u16::try_from(u32_at(entry.checked_add(8)?)?).ok()?,
        1 => u16::from(*exif.get(entry.checked_add(8)?)?),
        _ => u16_at(entry.checked_add(8)?)?,
    };
    Some(Orientation::from_exif(code))
}

/// The orientation in an XMP packet, which Pillow reads when EXIF has none: `tiff:Orientation="6"` or `>6<`.
fn of_xmp(xmp: &[u8]) -> Option<Orientation> {
    const KEY: &[u8] = b"tiff:Orientation";
    xmp.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).find_map(|(at, _)| {
        let rest = &xmp[at + KEY.len()..];
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        let digit = rest.first().filter(|digit| digit.is_ascii_digit())?;
        Some(Orientation::from_exif(u16::from(digit - b'0')))
    })
}

/// The orientation of a picture with these blocks of metadata. EXIF goes first.
pub(super) fn of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    exif.and_then(of_exif).or_else(|| xmp.and_then(of_xmp)).unwrap_or_default()
}
