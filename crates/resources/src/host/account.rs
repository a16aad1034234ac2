//! Accounts and groups: what is known of them, and what can be made of them.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Number of its primary group.
    pub gid: u32,
    /// Fields of the comment: the person's name, room, phone at work, phone at home, other.
    pub gecos: Gecos,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Names of its supplementary groups, in order.
    pub groups: Vec<String>,
    /// The hash in the shadow file; `None` if it cannot be read.
    pub password: Option<String>,
    /// What the shadow file says about the age of the password; `None` if it cannot be read.
    pub aging: Option<Aging>,
}

/// The fields of an account's comment: the person's name, room, phone at work, phone at home, other.
pub type Gecos = [String; 5];

/// Days in the shadow file; an empty field is -1 or not there.
pub type Aging = BTreeMap<Age, i64>;

/// A field of the shadow file: a day since 1970, or a number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Age {
    /// When the password was set.
    Date,
    /// It must stay for so long.
    Min,
    /// It must be altered after so long.
    Max,
    /// So long before there is a warning.
    Warn,
    /// So long after it has run out the account still works.
    Inactive,
    /// When the account ends.
    Expire,
}

impl Age {
    /// In the order of the file.
    pub const ALL: [Self; 6] = [Self::Date, Self::Min, Self::Max, Self::Warn, Self::Inactive, Self::Expire];
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Number.
    pub gid: u32,
    /// Names of the users that have it as a supplementary group, in order.
    pub members: Vec<String>,
}

/// What to make of an account; `None` leaves it, or takes the system's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// It is new.
    pub create: bool,
    /// Number.
    pub uid: Option<u32>,
    /// Primary group, by name or number.
    pub gid: Option<String>,
    /// The whole comment.
    pub gecos: Option<Gecos>,
    /// Home folder.
    pub home: Option<String>,
    /// Whether a new one gets its home folder.
    pub make_home: bool,
    /// Whether a new one gets a group of its own name; as the machine has it if `None`.
    pub own_group: Option<bool>,
    /// What is unusual.
    pub options: BTreeSet<UserOption>,
    /// Login shell.
    pub shell: Option<String>,
    /// All supplementary groups.
    pub groups: Option<Vec<String>>,
    /// Whether a new one is a system account.
    pub system: bool,
    /// Hash for the shadow file; an empty one needs no password. Never an argument of a program.
    pub password: Option<String>,
    /// Lock the password, or unlock it.
    pub lock: Option<bool>,
    /// Days in the shadow file; what is not there stays.
    pub aging: Aging,
}

/// What is unusual about a change of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserOption {
    /// Its number may be that of another one.
    SharedId,
    /// What is in the old home folder goes to the new one.
    MoveHome,
    /// A new one is not entered in the files of last logins.
    NoLogInit,
}

/// What goes with an account that is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRemoval {
    /// Its home folder and its mail.
    pub home: bool,
    /// Also while it is logged in.
    pub force: bool,
}

/// What to make of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// It is new.
    pub create: bool,
    /// Number.
    pub gid: Option<u32>,
    /// Whether a new one is a system group.
    pub system: bool,
    /// Its number may be that of another one.
    pub shared_id: bool,
    /// All supplementary members.
    pub members: Option<Vec<String>>,
}
