//! The part of grains.toml that states write: between two lines, as JSON in a comment and as TOML for the minion.

use serde_json::{Map, Value};

const BEGIN: &str =
    "# Set by states (grains.present and its like). What stands between these two lines is theirs.";
const END: &str = "# End of what states set.";
/// In front of the JSON.
const DATA: &str = "#= ";

/// The file, taken apart.
#[derive(Debug)]
pub(super) struct Block {
    grains: Map<String, Value>,
    rest: String,
}

impl Block {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((before, behind)) = text.split_once(&format!("{BEGIN}\n")) else {
            return Ok(Self { grains: Map::new(), rest: text.to_owned() });
        };
        let broken =
            || "the part of grains.toml that states set was altered: remove it, and run again".to_owned();
        let (inside, after) = behind.split_once(&format!("{END}\n")).ok_or_else(broken)?;
        let data = inside.lines().find_map(|it| it.strip_prefix(DATA)).ok_or_else(broken)?;
        let grains = serde_json::from_str(data).map_err(|_| broken())?;
        Ok(Self { grains, rest: format!("{before}{}", after.strip_prefix('\n').unwrap_or(after)) })
    }

    pub(super) fn print(&self) -> String {
        if self.grains.is_empty() {
            return self.rest.clone();
        }
        let data = Value::Object(self.grains.clone());
        let line = |(key, value): (&String, &Value)| format!("{} = {}", quoted(key), toml(value));
        let lines = self.grains.iter().map(line).collect::<Vec<_>>().join("\n");
        let gap = if self.rest.is_empty() { "" } else { "\n" };
        // At the beginning: behind a table's head they would belong to the table.
        format!("{BEGIN}\n{DATA}{data}\n{lines}\n{END}\n{gap}{}", self.rest)
    }

    /// Whether the rest of the file, which people write, has a grain of this name.
    pub(super) fn is_by_hand(&self, name: &str) -> bool {
        let mut top = true;
        for line in self.rest.lines().map(str::trim) {
            let head = line.strip_prefix("[[").or_else(|| line.strip_prefix('['));
            let key = match head {
                Some(head) if top || !line.contains('=') => {
                    top = false;
                    head
                }
                _ if top => line,
                _ => continue,
            };
            let end = key.find(['=', '.', ']']).unwrap_or(key.len());
            if !key.starts_with('#') && key[..end].trim().trim_matches(['"', '\'']) == name {
                return true;
            }
        }
        false
    }

    pub(super) fn get(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.grains.get(first)?, |value, key| value.get(key))
    }

    /// Sets a value, or takes it away; levels above are made as they are needed.
    pub(super) fn set(&mut self, path: &[String], value: Option<Value>) -> Result<(), String> {
        let Some((last, above)) = path.split_last() else { return Ok(()) };
        let mut map = &mut self.grains;
        for key in above {
            let level = map.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            map = level
                .as_object_mut()
                .ok_or_else(|| format!("the grain `{key}` has a value, and no levels below it"))?;
        }
        match value {
            Some(value) => drop(map.insert(last.clone(), value)),
            None => drop(map.shift_remove(last)),
        }
        Ok(())
    }
}

/// TOML's strings in double quotes are JSON's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{} = {}", quoted(key), toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Null => "\"\"".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_people_wrote_stays_and_is_known() {
        let text = "rack = 4\n[site]\nname = \"x\"\n[\"a b\".c]\n";
        let mut block = Block::parse(text).unwrap();
        for (name, by_hand) in
            [("rack", true), ("site", true), ("a b", true), ("name", false), ("role", false)]
        {
            assert_eq!(block.is_by_hand(name), by_hand, "{name}");
        }
        block.set(&["role".to_owned()], Some(json!("we\"b\n"))).unwrap();
        block.set(&["deep".to_owned(), "er".to_owned()], Some(json!([1, {"a": true}]))).unwrap();
        let printed = block.print();
        let parsed: toml::Table = toml::from_str(&printed).unwrap();
        assert_eq!(parsed["role"].as_str(), Some("we\"b\n"));
        assert_eq!(parsed["deep"]["er"][1]["a"].as_bool(), Some(true));
        assert_eq!(parsed["site"]["name"].as_str(), Some("x"));
        let mut again = Block::parse(&printed).unwrap();
        assert_eq!(again.print(), printed);
        again.set(&["role".to_owned()], None).unwrap();
        again.set(&["deep".to_owned()], None).unwrap();
        assert_eq!(again.print(), text);
    }
}
