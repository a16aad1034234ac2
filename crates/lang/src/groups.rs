//! Nodegroups: target expressions by name, put in the place of `N@name`.

use crate::limits;
use std::collections::BTreeMap;

/// Groups in groups.
const DEPTH_MAX: usize = 16;

/// An expression with its groups written out; a sentence if one does not exist or contains itself.
pub(crate) fn expand(text: &str, groups: &BTreeMap<String, String>) -> Result<String, String> {
    inside(text, groups, 0)
}

fn inside(text: &str, groups: &BTreeMap<String, String>, depth: usize) -> Result<String, String> {
    if !text.contains("N@") {
        return Ok(text.to_owned());
    }
    if depth > DEPTH_MAX {
        return Err(format!("nodegroups that contain each other, or more than {DEPTH_MAX} in one another"));
    }
    let mut expanded = String::new();
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            expanded.push(' ');
        }
        let bare = word.trim_start_matches('(').trim_end_matches(')');
        let Some(name) = bare.strip_prefix("N@") else {
            expanded.push_str(word);
            continue;
        };
        let Some(group) = groups.get(name) else {
            let known: Vec<&str> = groups.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!("there is no nodegroup `{name}`; master.yaml has {known}"));
        };
        expanded.push_str(&word.replacen(bare, &format!("({})", inside(group, groups, depth + 1)?), 1));
        if expanded.len() > limits::EXPRESSION_BYTES {
            return Err(format!("nodegroup `{name}` is too long when written out"));
        }
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::expand;
    use std::collections::BTreeMap;

    #[test]
    fn groups_are_written_out_and_circles_end() {
        let groups = [("a", "web-* and N@b"), ("b", "G@role:db or x"), ("c", "N@d"), ("d", "N@c")];
        let groups: BTreeMap<String, String> =
            groups.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
        assert_eq!(expand("N@a", &groups).unwrap(), "(web-* and (G@role:db or x))");
        assert_eq!(expand("not (N@b) and y", &groups).unwrap(), "not ((G@role:db or x)) and y");
        assert!(expand("N@c", &groups).unwrap_err().contains("contain each other"));
        assert!(expand("N@e", &groups).unwrap_err().contains("no nodegroup `e`"));
    }
}
