//! What can go wrong between a user's text or picture and the arrays that the towers read.

use std::path::{Path, PathBuf};

/// A text, a picture or a file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    // Text.
    /// A `vocab.txt` or `tokenizer.json` cannot be read.
    #[error("cannot read {}", path.display())]
    ReadVocabulary {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `vocab.txt` or `tokenizer.json` is larger than [`Limits::vocabulary_bytes`](chinese_clip_config::Limits).
    #[error("{} has more than the {limit} bytes that a vocabulary may have", path.display())]
    VocabularyTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A `vocab.txt` or `tokenizer.json` is not UTF-8.
    #[error("{} is not UTF-8", path.display())]
    VocabularyNotUtf8 {
        /// The file.
        path: PathBuf,
        /// Where it stops being UTF-8.
        source: std::str::Utf8Error,
    },
    /// What is wrong with the content of a named `vocab.txt` or `tokenizer.json`.
    #[error("in {}", path.display())]
    InVocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<PreprocessError>,
    },
    /// A vocabulary without tokens.
    #[error("the vocabulary is empty")]
    EmptyVocabulary,
    /// A token stands twice in a vocabulary.
    #[error("the token {token:?} stands on line {first} and again on line {line}")]
    DuplicateToken {
        /// The token.
        token: String,
        /// The line where it stands first, counted from 1.
        first: usize,
        /// The line where it stands again.
        line: usize,
    },
    /// A vocabulary without the tokens that every text needs.
    #[error("the vocabulary has no {}", missing.join(", no "))]
    MissingSpecialTokens {
        /// The tokens.
        missing: Vec<&'static str>,
        /// Whether the file begins with a byte order mark, which hides its first token.
        byte_order_mark: bool,
    },
    /// A `tokenizer.json` is malformed.
    #[error("not a tokenizer.json")]
    TokenizerJson {
        /// What the parser says.
        source: tokenizers::Error,
    },
    /// The tokenizer does not put `[CLS]` before and `[SEP]` after a text.
    #[error("the tokenizer makes {ids:?} of an empty text, where [CLS] [SEP] = [{cls}, {sep}] are expected")]
    NoClsAndSep {
        /// What it makes of an empty text.
        ids: Vec<u32>,
        /// The id of `[CLS]`.
        cls: u32,
        /// The id of `[SEP]`.
        sep: u32,
    },
    /// The template of a `tokenizer.json` uses a token that it does not define.
    #[error("the template uses {token:?}, and `special_tokens` does not define it")]
    UndefinedTemplateToken {
        /// The token.
        token: String,
    },
    /// The tokenizer loses the text, or puts it elsewhere.
    #[error("the text does not stand between [CLS] and [SEP]")]
    TextNotEnclosed,
    /// A tokenizer cannot be built or written.
    #[error("the tokenizer cannot be built")]
    TokenizerBuild {
        /// Why.
        source: tokenizers::Error,
    },
    /// The tokenizer fails on a text.
    #[error("the text cannot be tokenised")]
    Encode {
        /// Why.
        source: tokenizers::Error,
    },
    /// Ids cannot be turned into text.
    #[error("the ids cannot be decoded")]
    Decode {
        /// Why.
        source: tokenizers::Error,
    },
    /// `max_length` leaves no room for `[CLS]` and `[SEP]`.
    #[error("a maximum length of {max_length} tokens leaves no room for [CLS] and [SEP]")]
    MaxLength {
        /// What was asked for.
        max_length: usize,
    },
    /// A text has more bytes than [`Limits::text_bytes`](chinese_clip_config::Limits).
    #[error("a text of {bytes} bytes, more than the {limit} that one may have")]
    TextTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A text has more tokens than allowed, and truncation was not.
    #[error("the text {text:?} has {length} tokens, more than the {max_length} allowed")]
    TextTooLong {
        /// How the text begins.
        text: String,
        /// Its length in tokens, `[CLS]` and `[SEP]` included.
        length: usize,
        /// The limit.
        max_length: usize,
    },
    /// More texts than [`Limits::batch`](chinese_clip_config::Limits).
    #[error("{texts} texts in one call, more than the {limit} allowed")]
    BatchTooLarge {
        /// How many there are.
        texts: usize,
        /// The limit.
        limit: usize,
    },
    /// What is wrong with one text of a batch.
    #[error("in text {index}")]
    InText {
        /// Its place in the batch, counted from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<PreprocessError>,
    },
    /// A text is longer than what the batch is padded to.
    #[error("cannot pad to {length} tokens: the longest text has {longest}")]
    PadTooShort {
        /// What was asked for.
        length: usize,
        /// The longest text.
        longest: usize,
    },
    /// The padded arrays have more values than can be counted.
    #[error("cannot pad {texts} texts to {length} tokens: too large")]
    PadTooLarge {
        /// How many texts there are.
        texts: usize,
        /// What was asked for.
        length: usize,
    },
    /// Texts of different lengths that were not to be padded.
    #[error("text {index} has {length} tokens and text 0 has {first}: one batch needs one length")]
    RaggedTexts {
        /// The first text that differs, counted from 0.
        index: usize,
        /// Its tokens.
        length: usize,
        /// The tokens of text 0.
        first: usize,
    },
    // Both.
    /// A call of the processor without texts and without pictures.
    #[error("neither texts nor pictures were given")]
    NoInputs,
    /// A directory without the files of a tokenizer.
    #[error("{} has neither a tokenizer.json nor a vocab.txt", path.display())]
    NoVocabulary {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    // Pictures.
    /// A picture cannot be read.
    #[error("cannot read the picture {}", path.display())]
    ReadPicture {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A picture's path is a directory, a device or a pipe.
    #[error("{} is {found}, not a picture", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// What is wrong with a named picture.
    #[error("in the picture {}", path.display())]
    InPicture {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<PreprocessError>,
    },
    /// A picture is larger than [`Limits::image_bytes`](chinese_clip_config::Limits).
    #[error("more than the {limit} bytes that an encoded picture may have")]
    PictureBytes {
        /// The limit.
        limit: u64,
    },
    /// A picture, or what a resize would make of it, has more pixels than [`Limits::image_pixels`](chinese_clip_config::Limits).
    #[error("{width} x {height} pixels, more than the {limit} that a picture may have")]
    PicturePixels {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes are no picture of a known format.
    #[error("not a picture: {found}")]
    UnknownFormat {
        /// What the bytes look like.
        found: String,
    },
    /// The picture is damaged, or uses a part of its format that is not supported.
    #[error("cannot decode this {format} picture")]
    DecodePicture {
        /// The format, by content.
        format: &'static str,
        /// What the decoder says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Samples that do not fill the picture.
    #[error("a picture of {width} x {height} pixels and {channels} channels cannot have {found} samples")]
    PixelCount {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Samples of a pixel.
        channels: usize,
        /// Samples given.
        found: usize,
    },
    /// A picture, resize or crop without pixels.
    #[error("{width} x {height} pixels are no picture")]
    NoPixels {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// More pictures than [`Limits::batch`](chinese_clip_config::Limits).
    #[error("{pictures} pictures in one call, more than the {limit} allowed")]
    TooManyPictures {
        /// How many there are.
        pictures: usize,
        /// The limit.
        limit: usize,
    },
    /// No pictures in a call.
    #[error("no pictures")]
    NoPictures,
    /// `do_convert_rgb` is off and a picture is not RGB.
    #[error("the picture has mode {mode}, and conversion to RGB is off")]
    NotRgb {
        /// Pillow's name of the mode.
        mode: &'static str,
    },
    /// Pictures of one call come out in different sizes.
    #[error(
        "picture {index} comes out as {width} x {height} pixels and picture 0 as {first_width} x {first_height}: one batch needs one size"
    )]
    MixedSizes {
        /// The first picture that differs, counted from 0.
        index: usize,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
        /// Columns of picture 0.
        first_width: usize,
        /// Rows of picture 0.
        first_height: usize,
    },
    /// Arrays of one call have different numbers of channels.
    #[error("picture {index} has {channels} channels and picture 0 has {first_channels}: one batch needs one number")]
    MixedChannels {
        /// The first array that differs, counted from 0.
        index: usize,
        /// Its channels.
        channels: usize,
        /// Channels of picture 0.
        first_channels: usize,
    },
    /// Numbers that do not fill the shape of an array.
    #[error("an array of the shape {shape:?} cannot have {found} numbers")]
    ArrayShape {
        /// The shape.
        shape: Vec<usize>,
        /// Numbers given.
        found: usize,
    },
    /// Neither the first nor the last dimension of an array can be its channels.
    #[error("which dimension of the shape {shape:?} has the channels? Neither the first nor the last is 1 or 3")]
    NoChannels {
        /// The shape.
        shape: [usize; 3],
    },
    /// Not as many means or standard deviations as an array has channels.
    #[error("{field} has {found} numbers for {expected} channels")]
    ChannelCount {
        /// Which of the two.
        field: &'static str,
        /// Channels of the array.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// A resize of more channels than Pillow has a mode for.
    #[error("an array of {channels} channels cannot be resized; 1 to 4 can")]
    ResizeChannels {
        /// Channels of the array.
        channels: usize,
    },
    /// Numbers that cannot be turned into 8 bits, which a resize does.
    #[error("numbers from {min} to {max} are no levels of a picture")]
    ArrayRange {
        /// The smallest; NaN when one is.
        min: f32,
        /// The largest; NaN when one is.
        max: f32,
    },
    /// An array of floats with alpha that are no fractions.
    #[error("numbers from {min} to {max} cannot be composited on white")]
    AlphaRange {
        /// The smallest; NaN when one is.
        min: f32,
        /// The largest; NaN when one is.
        max: f32,
    },
    /// What is wrong with one picture of a batch.
    #[error("picture {index}")]
    AtPicture {
        /// Its place in the batch, counted from 0.
        index: usize,
        /// What is wrong with it.
        source: Box<PreprocessError>,
    },
    /// A configuration that makes no sense.
    #[error("the preprocessor configuration cannot be used")]
    Config {
        /// Its faults.
        source: chinese_clip_config::ConfigError,
    },
}

impl PreprocessError {
    /// How to mend it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            // Text.
            Self::ReadVocabulary { path, .. } if !path.exists() => {
                Some("the published vocabulary is built in; a checkpoint directory may do without one".into())
            }
            Self::InVocabulary { source, .. }
            | Self::InText { source, .. }
            | Self::InPicture { source, .. }
            | Self::AtPicture { source, .. } => source.hint(),
            Self::MissingSpecialTokens { byte_order_mark: true, .. } => {
                Some("the file begins with a byte order mark: save it as UTF-8 without one".into())
            }
            Self::MissingSpecialTokens { .. } | Self::EmptyVocabulary => {
                Some("is it the vocab.txt or tokenizer.json of a Chinese-CLIP or BERT checkpoint?".into())
            }
            Self::TextTooLong { .. } => Some("raise the maximum length, or allow truncation".into()),
            Self::RaggedTexts { .. } => Some("set padding, or pass the texts one by one".into()),
            Self::NoInputs => Some("give text, images or both".into()),
            Self::NoVocabulary { .. } => {
                Some("Tokenizer::builtin has the published vocabulary, for a Processor::new of one's own".into())
            }
            // Pictures.
            Self::NotAFile { found: "a directory", .. } => Some("name the pictures inside it".into()),
            Self::PictureBytes { .. } | Self::PicturePixels { .. } => {
                Some("shrink the picture, or raise the limit if you trust where it comes from".into())
            }
            Self::UnknownFormat { .. } => {
                Some("readable are JPEG, PNG, GIF, WebP, BMP, TIFF, PNM, TGA, ICO, QOI and HDR; the content decides, not the name".into())
            }
            Self::NotRgb { .. } => Some("set do_convert_rgb".into()),
            Self::MixedSizes { .. } => {
                Some("give size a height and a width, or crop the centre, or process the pictures one by one".into())
            }
            Self::NoChannels { .. } => Some("set input_data_format".into()),
            Self::ChannelCount { .. } => Some("give one number for all channels, or one for each".into()),
            Self::ArrayRange { .. } => {
                Some("give whole levels of 0 to 255, or fractions of 0 to 1; or set do_resize to false".into())
            }
            Self::AlphaRange { .. } => Some("give levels as u8, or fractions of 0 to 1".into()),
            Self::MixedChannels { .. } => Some("process arrays of different kinds one by one".into()),
            Self::Config { source } => source.hint(),
            _ => None,
        }
    }

    /// Names the vocabulary file, unless it is named already.
    pub(crate) fn in_vocabulary(self, path: &Path) -> Self {
        Self::InVocabulary { path: path.into(), source: Box::new(self) }
    }
}
