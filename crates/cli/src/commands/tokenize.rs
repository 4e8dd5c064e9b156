//! `tokenize`: the ids that the text tower reads. Of the model, the vocabulary is loaded and nothing else.

use chinese_clip::{Dialect, EncodeOptions, tokenizer};
use serde::Serialize;

use super::{TEXTS_HINT, require};
use crate::Outcome;
use crate::args::TokenizeArgs;
use crate::error::CliError;
use crate::loading::{max_length, open, open_options, overlong};
use crate::output::Out;
use crate::{inputs, messages};

#[derive(Serialize)]
struct Tokenized {
    text: String,
    input_ids: Vec<u32>,
    tokens: Vec<String>,
}

pub(super) fn run(args: TokenizeArgs) -> Result<Outcome, CliError> {
    inputs::check_stdin(&[], &[args.texts.texts.as_ref()])?;
    let options = open_options(&args.source.hub);
    let texts = inputs::texts(args.texts.text, args.texts.texts.as_ref(), &options.limits)?;
    require(&texts, "text", TEXTS_HINT)?;
    let checkpoint = open(&args.source, &options)?;
    let dialect = Dialect::from(args.dialect.dialect);
    let tokenizer =
        tokenizer(&checkpoint, &options.limits)?.with_dialect(dialect).map_err(chinese_clip::Error::from)?;
    let encode = EncodeOptions {
        max_length: max_length(&args.length, dialect, &checkpoint),
        overlong: overlong(&args.length),
        limits: options.limits,
    };
    let encodings = tokenizer.encode_batch(&texts, &encode)?;
    messages::report_truncated(&texts, &encodings);
    let tokenized = texts.into_iter().zip(encodings).map(|(text, encoding)| {
        let tokens = tokenizer.tokens(&encoding.ids);
        Tokenized { text, input_ids: encoding.ids, tokens }
    });
    let mut out = Out::new();
    if args.json {
        out.json(&tokenized.collect::<Vec<_>>())?;
    } else {
        for Tokenized { text, input_ids, tokens } in tokenized {
            let ids: Vec<String> = input_ids.iter().map(u32::to_string).collect();
            out.safe_line(&text)?;
            out.safe_line(&format!("  {}", ids.join(" ")))?;
            out.safe_line(&format!("  {}", tokens.join(" ")))?;
        }
    }
    out.finish()?;
    Ok(Outcome::Done)
}
