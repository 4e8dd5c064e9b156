//! The globals that a pickle may name. Everything else is refused before it could matter.

use crate::Dtype;

/// What a permitted global stands for in this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`: a dictionary.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`: a view of a storage.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: a tensor, wrapped.
    RebuildParameter,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch.FloatStorage` and its like: the type of a storage's elements.
    Storage(Dtype),
}

/// The whole list. Nothing here does anything; it gives a meaning to a name.
const PERMITTED: &[(&str, Global)] = &[
    ("collections.OrderedDict", Global::OrderedDict),
    ("torch._utils._rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils._rebuild_parameter", Global::RebuildParameter),
    ("torch.Size", Global::Size),
    ("torch.DoubleStorage", Global::Storage(Dtype::F64)),
    ("torch.FloatStorage", Global::Storage(Dtype::F32)),
    ("torch.HalfStorage", Global::Storage(Dtype::F16)),
    ("torch.BFloat16Storage", Global::Storage(Dtype::BF16)),
    ("torch.LongStorage", Global::Storage(Dtype::I64)),
    ("torch.IntStorage", Global::Storage(Dtype::I32)),
    ("torch.ShortStorage", Global::Storage(Dtype::I16)),
    ("torch.CharStorage", Global::Storage(Dtype::I8)),
    ("torch.ByteStorage", Global::Storage(Dtype::U8)),
    ("torch.BoolStorage", Global::Storage(Dtype::Bool)),
    ("torch.storage.UntypedStorage", Global::Storage(Dtype::U8)),
];

/// Modules whose functions run commands or code, open files or connections, or load further pickles.
#[rustfmt::skip]
const DANGEROUS: &[&str] = &[
    "__builtin__", "__main__", "_io", "_pickle", "_posixsubprocess", "asyncio", "bdb", "builtins", "cProfile", "code", "commands",
    "ctypes", "dill", "exec", "functools", "http", "importlib", "io", "joblib", "marshal", "multiprocessing", "nt", "operator", "os",
    "pathlib", "pdb", "pickle", "pip", "pkgutil", "platform", "popen2", "posix", "profile", "pty", "pydoc", "runpy", "shutil",
    "signal", "site", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "timeit", "torch.hub", "torch.jit",
    "torch.load", "torch.storage._load_from_bytes", "torch.utils", "types", "urllib", "urllib2", "webbrowser", "zipimport",
];

/// The global of this name, if it is permitted.
pub(super) fn permitted(name: &str) -> Option<Global> {
    PERMITTED.iter().find(|(permitted, _)| *permitted == name).map(|(_, global)| *global)
}

/// Whether loading a pickle that names this would run code or reach out of the process. Used for the message alone.
pub(super) fn runs_code(name: &str) -> bool {
    DANGEROUS.iter().any(|bad| name.strip_prefix(bad).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_permitted() {
        assert_eq!(permitted("torch.HalfStorage"), Some(Global::Storage(Dtype::F16)));
        for name in [
            "torch.halfstorage",
            "torch._utils",
            "collections.OrderedDict.__class__",
            "torch.storage._load_from_bytes",
            "",
        ] {
            assert_eq!(permitted(name), None, "{name}");
        }
    }

    #[test]
    fn code_is_told_from_mere_strangers() {
        for name in ["os.system", "posix.system", "builtins.eval", "subprocess.Popen", "torch.storage._load_from_bytes"]
        {
            assert!(runs_code(name), "{name}");
        }
        for name in ["numpy.ndarray", "argparse.Namespace", "osmosis.system", "torch.device"] {
            assert!(!runs_code(name), "{name}");
        }
    }
}
