//! From the path of a parameter in a module to its name in a checkpoint.

/// What burn calls parameters that a checkpoint calls otherwise.
const BURN: [(&str, &str); 2] = [("gamma", "weight"), ("beta", "bias")];

/// Renames the parts of a dotted `path` by the rows of `table`, then by burn's own names of layer-norm parameters.
///
/// A row matches whole parts of the path (`norm` does not match in `norm1`), and each row is applied once.
pub fn rename(path: &str, table: &[(&str, &str)]) -> String {
    let mut name = format!(".{path}.");
    for (from, to) in table.iter().chain(&BURN) {
        name = name.replacen(&format!(".{from}."), &format!(".{to}."), 1);
    }
    name.trim_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_match_whole_parts() {
        let table = [("layers", "encoder.layer"), ("norm", "LayerNorm")];
        assert_eq!(rename("layers.3.norm.gamma", &table), "encoder.layer.3.LayerNorm.weight");
        assert_eq!(rename("layers.3.norm1.bias", &table), "encoder.layer.3.norm1.bias");
    }
}
