//! stub
use crate::{Outcome, error::CliError};
pub(super) fn run(_: &crate::args::InfoArgs) -> Result<Outcome, CliError> {
    Ok(Outcome::Done)
}
