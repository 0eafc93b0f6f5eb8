//! Rows of text tables as JSON objects.

use std::io::Write;

/// Writes a row of text cells as a JSON object. An empty cell is null; a column without a name, such as the row numbers of a pandas
/// export, is left out.
pub(crate) fn write_json_object<'a>(
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    mut out: impl Write,
) -> std::io::Result<()> {
    let mut separator = b"{";
    for (name, value) in fields.filter(|(name, _)| !name.is_empty()) {
        out.write_all(separator)?;
        separator = b",";
        serde_json::to_writer(&mut out, name)?;
        out.write_all(b":")?;
        match value {
            "" => out.write_all(b"null")?,
            value => serde_json::to_writer(&mut out, value)?,
        }
    }
    out.write_all(if separator == b"{" { b"{}" } else { b"}" })
}
