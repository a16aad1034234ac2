//! The text of /etc/fstab, and the lines of /proc/self/mountinfo and /proc/swaps.

/// File systems that are known by where they are mounted; others by their device.
const BY_NAME: [&str; 14] = [
    "none",
    "tmpfs",
    "sysfs",
    "proc",
    "fusectl",
    "debugfs",
    "securityfs",
    "devtmpfs",
    "cgroup",
    "nfs",
    "nfs4",
    "glusterfs",
    "btrfs",
    "ceph",
];

/// The six fields of a line.
pub(super) const FIELDS: [&str; 6] = ["device", "name", "fstype", "opts", "dump", "pass_num"];

/// A line, its fields in the order of [`FIELDS`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry(pub(super) [String; 6]);

impl Entry {
    /// Spaces within a field are written as the file wants them.
    pub(super) fn new(fields: [&str; 6]) -> Self {
        Self(fields.map(escaped))
    }
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if !(4..=6).contains(&words.len()) {
            return None;
        }
        words.resize(6, "0".to_owned());
        words.try_into().ok().map(Self)
    }
    pub(super) fn field(&self, name: &str) -> &str {
        FIELDS.iter().position(|it| *it == name).map_or("", |at| self.0[at].as_str())
    }
    fn same(&self, other: &Self, name: &str) -> bool {
        if name != "opts" {
            return self.field(name) == other.field(name);
        }
        let sorted = |it: &Self| {
            let mut options: Vec<String> = it.field("opts").split(',').map(str::to_owned).collect();
            options.sort();
            options
        };
        sorted(self) == sorted(other)
    }
    fn print(&self) -> String {
        let [device, name, fstype, opts, dump, pass] = &self.0;
        format!("{device}\t\t{name}\t{fstype}\t{opts}\t{dump} {pass}")
    }
    /// What it is known by if nothing is said.
    pub(super) fn known_by(&self) -> &'static str {
        if BY_NAME.contains(&self.field("fstype")) { "name" } else { "device" }
    }
}

/// The file with this entry in the place of what it is known by, or at its end.
pub(super) fn with_entry(now: &str, entry: &Entry, match_on: &[&str], keep: bool) -> String {
    let mut found = false;
    let mut lines: Vec<String> = Vec::new();
    for line in now.lines() {
        let old = Entry::parse(line).filter(|old| match_on.iter().all(|it| old.same(entry, it)));
        found |= old.is_some();
        let stays = old.is_none_or(|old| keep || FIELDS.iter().all(|it| old.same(entry, it)));
        lines.push(if stays { line.to_owned() } else { entry.print() });
    }
    if !found {
        lines.push(entry.print());
    }
    let same = lines.iter().map(String::as_str).eq(now.lines());
    if same { now.to_owned() } else { lines.join("\n") + "\n" }
}

/// The file without entries of this mount point, and of this device if one is given.
pub(super) fn without_entry(now: &str, name: &str, device: Option<&str>) -> String {
    let (name, device) = (escaped(name), device.map(escaped));
    let gone = |it: &Entry| {
        it.field("name") == name && device.as_ref().is_none_or(|device| it.field("device") == device)
    };
    let mut text = String::new();
    for line in now.split_inclusive('\n') {
        if !Entry::parse(line).is_some_and(|it| gone(&it)) {
            text.push_str(line);
        }
    }
    text
}

pub(super) fn escaped(text: &str) -> String {
    text.replace("\\ ", "\\040").replace(' ', "\\040").replace('\t', "\\011")
}

fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Active {
    /// Which file system it is: two numbers.
    pub(super) numbers: String,
    /// What of the file system is mounted.
    pub(super) root: String,
    pub(super) point: String,
    pub(super) fstype: String,
    pub(super) device: String,
    /// Of the mount and of the file system.
    pub(super) options: Vec<String>,
}

/// The lines of /proc/self/mountinfo.
pub(super) fn active(text: &str) -> Vec<Active> {
    text.lines().filter_map(active_line).collect()
}

fn active_line(line: &str) -> Option<Active> {
    let (before, behind) = line.split_once(" - ")?;
    let before: Vec<&str> = before.split(' ').collect();
    let behind: Vec<&str> = behind.split(' ').collect();
    let options = [before.get(5)?, *behind.get(2).unwrap_or(&"")];
    Some(Active {
        numbers: (*before.get(2)?).to_owned(),
        root: unescaped(before.get(3)?),
        point: unescaped(before.get(4)?),
        fstype: (*behind.first()?).to_owned(),
        device: unescaped(behind.get(1)?),
        options: options.iter().flat_map(|it| it.split(',')).map(str::to_owned).collect(),
    })
}

/// Names in /proc/swaps.
pub(super) fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|it| it.split_whitespace().next()).map(unescaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_replaced_where_it_is_known() {
        let now = "# mine\nUUID=1 / ext4 errors=remount-ro 0 1\n/dev/sdb1 /data ext4 noatime,defaults\n";
        let entry = Entry::new(["/dev/sdb1", "/data", "ext4", "defaults,noatime", "0", "0"]);
        assert_eq!(with_entry(now, &entry, &["device"], false), now);
        let entry = Entry::new(["/dev/sdb1", "/my data", "ext4", "defaults", "0", "2"]);
        let wanted =
            "# mine\nUUID=1 / ext4 errors=remount-ro 0 1\n/dev/sdb1\t\t/my\\040data\text4\tdefaults\t0 2\n";
        assert_eq!(with_entry(now, &entry, &["device"], false), wanted);
        assert_eq!(with_entry(now, &entry, &["device"], true), now);
        assert_eq!(without_entry(wanted, "/my data", None), "# mine\nUUID=1 / ext4 errors=remount-ro 0 1\n");
        assert_eq!(without_entry(wanted, "/my data", Some("/dev/sdc")), wanted);
    }

    #[test]
    fn the_kernels_list_is_read() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n";
        let wanted = Active {
            numbers: "98:0".into(),
            root: "/mnt1".into(),
            point: "/mnt 2".into(),
            fstype: "ext3".into(),
            device: "/dev/root".into(),
            options: ["rw", "noatime", "rw", "errors=continue"].map(str::to_owned).to_vec(),
        };
        assert_eq!(active(text), [wanted]);
        assert_eq!(swaps("Filename Type Size Used Priority\n/swapfile file 1 0 -2\n"), ["/swapfile"]);
    }
}
