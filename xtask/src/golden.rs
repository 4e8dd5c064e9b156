//! `cargo xtask golden`: makes the committed goldens again.

use std::process::Command;

use clap::Args;

use crate::oracle::Oracle;
use crate::{Failure, root};

const SCRIPTS: [&str; 13] = [
    "tests/goldens/make.py",
    "tests/goldens/resnet.py",
    "tests/goldens/vision.py",
    "tests/goldens/text.py",
    "tests/goldens/initial.py",
    "tests/goldens/real_size.py",
    "crates/preprocess/tests/data/make_text_goldens.py",
    "crates/preprocess/tests/data/make_cn_clip_text_goldens.py",
    "crates/preprocess/tests/data/make_image_goldens.py",
    "crates/preprocess/tests/data/make_array_goldens.py",
    "crates/preprocess/tests/data/make_processor_goldens.py",
    "crates/checkpoint/tests/data/make_checkpoints.py",
    "crates/model/demo/golden.py",
];

/// Those that ask transformers 5.24.0, out of the folder that `$ORACLE_V5` names.
const V5_SCRIPTS: [&str; 1] = ["crates/preprocess/tests/data/make_alpha_goldens.py"];

/// Arguments of the task.
#[derive(Args)]
pub(crate) struct Golden {
    #[command(flatten)]
    oracle: Oracle,
}

impl Golden {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        for script in SCRIPTS {
            eprintln!("{script}");
            self.oracle.run(&root().join(script), &[])?;
        }
        for script in V5_SCRIPTS {
            if std::env::var_os("ORACLE_V5").is_none() {
                eprintln!(
                    "{script}: not run, for $ORACLE_V5 names no folder into which transformers==5.24.0 was installed"
                );
                continue;
            }
            eprintln!("{script}");
            self.oracle.run(&root().join(script), &[])?;
        }
        let changed = Command::new("git")
            .args(["status", "--porcelain", "--"])
            .args(SCRIPTS.map(folder))
            .current_dir(root())
            .output()?;
        let changed = String::from_utf8_lossy(&changed.stdout).into_owned();
        if changed.is_empty() {
            println!("the goldens are as committed");
            Ok(())
        } else {
            Err(format!("these goldens changed:\n{changed}").into())
        }
    }
}

fn folder(script: &str) -> &str {
    script.rsplit_once('/').map_or(script, |(folder, _)| folder)
}
