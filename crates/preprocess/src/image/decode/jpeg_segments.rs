//! The segments of a JPEG, for what its decoders do not tell.

/// Marker, start of the content and content of each segment before the first scan, that scan's header included.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, usize, &[u8])> {
    let mut at = 2;
    let mut done = false;
    std::iter::from_fn(move || {
        while !done && bytes.get(at..at + 2)? == [0xff, 0xff] {
            at += 1;
        }
        let [0xff, marker, high, low] = *bytes.get(at..)?.first_chunk()? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let content = (at + 4, bytes.get(at + 4..at + 2 + length)?);
        at += 2 + length;
        (!std::mem::replace(&mut done, marker == 0xda)).then_some((marker, content.0, content.1))
    })
}

/// Whether the end of the picture is there. Pillow refuses a file without; zune-jpeg fills what is missing with grey.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let scan = segments(bytes).find(|(marker, _, _)| *marker == 0xda);
    // Without a scan the decoder has a better message.
    scan.is_none_or(|(_, at, _)| bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]))
}

/// The XMP packet.
#[cfg(feature = "libjpeg-turbo")]
pub(super) fn xmp(bytes: &[u8]) -> Option<&[u8]> {
    segments(bytes)
        .filter(|(marker, _, _)| *marker == 0xe1)
        .find_map(|(_, _, content)| content.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0"))
}
