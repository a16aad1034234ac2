//! `disk.partitioned`: a partition table on an empty disk.

use super::{NAME, device, refuse_signed, refuse_used, signatures, word};
use crate::{
    Applied, Error, Host, Param, ParamType, ParamsError, Probe, Resource,
    args::{Args, invalid},
    host::{Command, Query, query::disk::Question},
    tool,
};
use model::Plan;
use serde_json::{Map, Value};

pub(super) const PARAMS: &[Param] = &[
    NAME,
    Param::of("label", ParamType::Text, "gpt", "The kind of table: `gpt` or `dos`."),
    Param::of(
        "partitions",
        ParamType::Any,
        "",
        "The partitions in order, mappings with `size` (as `512MiB`; without one: the rest), `type` (`linux`, `swap`, `uefi`, \
         `lvm`, `raid`, `home`, or the number or GUID of the table) and `name` (`gpt` only).",
    )
    .required(),
];

/// Most partitions of a disk.
const PARTITIONS_MAX: usize = 128;
/// Names of types: for `gpt`, and for `dos`.
const TYPES: &[(&str, &str, &str)] = &[
    ("linux", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "83"),
    ("swap", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82"),
    ("uefi", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef"),
    ("lvm", "E6D6D379-F507-44C2-A23C-238F2A3DF928", "8e"),
    ("raid", "A19D880F-05FC-4D3B-A006-743F0F84911E", "fd"),
    ("home", "933AC7E1-2EB4-4F13-B844-0E14E2AEF915", "83"),
];

#[derive(Debug)]
struct Partition {
    /// In bytes; `None` is the rest.
    bytes: Option<u64>,
    kind: String,
    name: Option<String>,
}

#[derive(Debug)]
struct Partitioned {
    device: String,
    label: String,
    partitions: Vec<Partition>,
}

pub(super) fn parse(params: &Map<String, Value>) -> Result<Box<dyn Resource>, ParamsError> {
    let args = Args::new("disk.partitioned", PARAMS, params)?;
    let label = args.text("label").unwrap_or_else(|| "gpt".to_owned());
    if !["gpt", "dos"].contains(&label.as_str()) {
        return Err(invalid("label", format!("`{label}` must be `gpt` or `dos`")));
    }
    let rows = args.rows("partitions")?.unwrap_or_default();
    let limit = if label == "dos" { 4 } else { PARTITIONS_MAX };
    if rows.is_empty() || rows.len() > limit {
        return Err(invalid("partitions", format!("`partitions` must be 1 to {limit} mappings")));
    }
    let last = rows.len() - 1;
    let mut partitions = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let it = partition(row, &label)?;
        if it.bytes.is_none() && at != last {
            return Err(invalid("partitions", "only the last of `partitions` can do without `size`"));
        }
        partitions.push(it);
    }
    Ok(Box::new(Partitioned { device: device(&args)?, label, partitions }))
}

fn partition(row: &Map<String, Value>, label: &str) -> Result<Partition, ParamsError> {
    let schema = [
        Param::of("size", ParamType::Text, "", ""),
        Param::of("type", ParamType::Text, "", ""),
        Param::of("name", ParamType::Text, "", ""),
    ];
    // `name` is not needed here, as it is elsewhere.
    let mut whole = row.clone();
    whole.entry("name").or_insert_with(|| "".into());
    let args = Args::new("a partition of disk.partitioned", &schema, &whole)?;
    let name = Some(args.name()).filter(|it| !it.is_empty());
    if let Some(name) = &name {
        word("name", name)?;
        if label == "dos" || name.len() > 36 {
            return Err(invalid(
                "partitions",
                format!("`{name}`: names are for `gpt`, and have at most 36 letters"),
            ));
        }
    }
    let bytes = args.text("size").map(|it| bytes(&it)).transpose()?;
    let written = args.text("type").unwrap_or_else(|| "linux".to_owned());
    let kind = match TYPES.iter().find(|it| it.0 == written) {
        Some((_, gpt, dos)) => if label == "gpt" { *gpt } else { *dos }.to_owned(),
        None => written,
    };
    if kind.is_empty() || !kind.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-') {
        return Err(invalid("partitions", format!("`{kind}` is no type of partition")));
    }
    Ok(Partition { bytes, kind, name })
}

/// `512MiB`, `10G`: powers of 1024.
fn bytes(text: &str) -> Result<u64, ParamsError> {
    let wrong = || invalid("partitions", format!("`{text}` is no size, such as `512MiB` or `10GiB`"));
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| wrong())?;
    let shift = match text[end..].trim() {
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|it| *it > 0).ok_or_else(wrong)
}

impl Partitioned {
    /// What `sfdisk` reads.
    fn script(&self) -> String {
        let line = |it: &Partition| {
            let mut fields = vec![format!("type={}", it.kind)];
            fields.extend(it.bytes.map(|it| format!("size={}KiB", it >> 10)));
            fields.extend(it.name.as_ref().map(|it| format!("name=\"{it}\"")));
            fields.join(", ") + "\n"
        };
        format!("label: {}\n{}", self.label, self.partitions.iter().map(line).collect::<String>())
    }

    /// How the table that is there differs from the wanted one.
    fn differences(&self, table: &Value) -> Vec<String> {
        let text = |it: &Value, key: &str| it.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut all = Vec::new();
        let label = text(table, "label");
        if label != self.label {
            all.push(format!("its table is `{label}`"));
        }
        let sector = table.get("sectorsize").and_then(Value::as_u64).unwrap_or(512);
        let there = table.get("partitions").and_then(Value::as_array).cloned().unwrap_or_default();
        if there.len() != self.partitions.len() {
            all.push(format!("it has {} partitions, not {}", there.len(), self.partitions.len()));
            return all;
        }
        for (at, (is, wanted)) in there.iter().zip(&self.partitions).enumerate() {
            let number = at + 1;
            let kind = text(is, "type");
            if !kind.eq_ignore_ascii_case(&wanted.kind) {
                all.push(format!("partition {number} is of type `{kind}`"));
            }
            if wanted.name.as_ref().is_some_and(|it| *it != text(is, "name")) {
                all.push(format!("partition {number} has the name `{}`", text(is, "name")));
            }
            let size = is.get("size").and_then(Value::as_u64).unwrap_or_default().saturating_mul(sector);
            // Partitions begin and end at whole MiB.
            if wanted.bytes.is_some_and(|it| it.abs_diff(size) >= 1 << 20) {
                all.push(format!("partition {number} has {} MiB", size >> 20));
            }
        }
        all
    }

    fn refuse_full(&self, host: &dyn Probe) -> Result<(), Error> {
        refuse_signed(&self.device, &signatures(&self.device, host)?)?;
        refuse_used(&self.device, host)
    }
}

impl Resource for Partitioned {
    fn check(&self, host: &dyn Probe) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let query = Query::Disk(Question::Partitions(self.device.clone()));
        let output = tool::ask(host, &query)?;
        if output.code == Some(0) {
            let answer: Value = serde_json::from_str(&output.stdout).map_err(|error| {
                Error::Refused(format!("`sfdisk` answered with something that is no JSON: {error}"))
            })?;
            let wrong = self.differences(answer.get("partitiontable").unwrap_or(&Value::Null));
            if wrong.is_empty() {
                return Ok(plan);
            }
            let text = format!("`{}` has partitions already, and others: {}", self.device, wrong.join(", "));
            return Err(Error::Refused(text + "; a partition table is not altered"));
        }
        if !output.stderr.contains("does not contain a recognized partition table") {
            return Err(tool::refusal(&query, output));
        }
        self.refuse_full(host)?;
        let names = self.partitions.iter().enumerate().map(|(at, it)| {
            let size = it.bytes.map_or_else(|| "the rest".to_owned(), |it| format!("{} MiB", it >> 20));
            format!("{}: {size}", it.name.clone().unwrap_or_else(|| (at + 1).to_string()))
        });
        plan.differ("partitions", None, &names.collect::<Vec<_>>().join(", "));
        Ok(plan)
    }

    fn apply(&self, _plan: &Plan, host: &mut dyn Host) -> Result<Applied, Error> {
        // It may have been taken since the check.
        self.refuse_full(host)?;
        let words =
            ["sfdisk", "--quiet", "--wipe", "never", "--wipe-partitions", "never", "--", &self.device];
        let command = Command { stdin: Some(self.script()), ..tool::command(&words, tool::SHORT_MS) };
        tool::run(host, command, &format!("sfdisk {}", self.device))?;
        Ok(Applied::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(bytes("512MiB").unwrap(), 512 << 20);
        assert_eq!(bytes("10G").unwrap(), 10 << 30);
        for bad in ["", "10", "10GB", "-1G", "0G", "99999999999T", "1G, type=83"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
