//! What a task measured, in a page of docs: one section for each name, between the markers of the task.

use std::fs;
use std::path::Path;

use crate::Failure;

/// Puts the section `### name` into the page, in the place of its former one or after the others.
pub(crate) fn replace(page: &Path, task: &str, name: &str, section: &str) -> Result<(), Failure> {
    let (begin, end) = (marker(task, "begin"), marker(task, "end"));
    let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let missing = || format!("{} lacks the lines `{begin}` and `{end}`", page.display());
    let (head, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (measured, tail) = rest.split_once(&end).ok_or_else(missing)?;
    let mut sections: Vec<String> = measured
        .split("\n### ")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| format!("### {part}\n"))
        .collect();
    let heading = format!("### {name}\n");
    match sections.iter_mut().find(|section| section.starts_with(&heading)) {
        Some(former) => *former = section.into(),
        None => sections.push(section.into()),
    }
    fs::write(page, format!("{head}{begin}\n\n{}\n{end}{tail}", sections.join("\n")))?;
    Ok(())
}

/// What to call a checkpoint in a page: the name that was given, or its last component.
pub(crate) fn heading(name: Option<&String>, checkpoint: &Path) -> String {
    let last = || checkpoint.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.cloned().unwrap_or_else(last)
}

fn marker(task: &str, which: &str) -> String {
    format!("<!-- measured by cargo xtask {task}: {which} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_replaced_by_name_and_added_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page.md");
        let text =
            "Before\n<!-- measured by cargo xtask a: begin -->\n<!-- measured by cargo xtask a: end -->\nAfter\n";
        fs::write(&page, text).unwrap();
        for (name, body) in [("one", "1"), ("two", "2"), ("one", "3")] {
            replace(&page, "a", name, &format!("### {name}\n\n#### part\n\n{body}\n")).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&page).unwrap(),
            "Before\n<!-- measured by cargo xtask a: begin -->\n\n### one\n\n#### part\n\n3\n\n### two\n\n#### part\n\n2\n\n\
             <!-- measured by cargo xtask a: end -->\nAfter\n"
        );
        let other = replace(&page, "b", "one", "").unwrap_err().to_string();
        assert!(other.contains("lacks the lines `<!-- measured by cargo xtask b: begin -->`"), "{other}");
    }
}
