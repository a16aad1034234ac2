//! The parameters of the functions of `user`.

use crate::{Param, ParamType};

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Text, default, doc)
}
const fn flag(name: &'static str, default: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Bool, default, doc)
}
const fn number(name: &'static str, doc: &'static str) -> Param {
    Param::of(name, ParamType::Integer, "as it is", doc)
}

pub(super) const PRESENT: &[Param] = &[
    Param::name("The account."),
    Param::of("uid", ParamType::Integer, "the next free one", "Its number."),
    text("gid", "a group of its own name", "Its primary group, by name or number."),
    flag(
        "usergroup",
        "as the machine has it",
        "A new one gets a group of its own name, or does not; an old one has it as its primary group.",
    ),
    flag(
        "gid_from_name",
        "false",
        "The primary group is the one with the account's name: older Salt's `usergroup`.",
    ),
    flag(
        "allow_uid_change",
        "false",
        "An account that exists may get another number. Files keep their owner.",
    ),
    flag(
        "allow_gid_change",
        "false",
        "An account that exists may get another primary group. Files keep their group.",
    ),
    flag("unique", "true", "No other account has its number."),
    text("fullname", "as it is", "The person's name."),
    text("roomnumber", "as it is", "Where the person is."),
    text("workphone", "as it is", "The person's telephone at work."),
    text("homephone", "as it is", "The person's telephone at home."),
    text("other", "as it is", "What else the comment says."),
    Param::of("home", ParamType::Path, "/home/NAME", "Its home folder."),
    flag("createhome", "true", "Makes its home folder, where there is none."),
    flag("persist_home", "false", "When the home folder becomes another one, what is in it goes along."),
    Param::of("shell", ParamType::Path, "the system's", "Its login shell."),
    Param::of("groups", ParamType::TextList, "as they are", "Supplementary groups, which must exist."),
    Param::of(
        "optional_groups",
        ParamType::TextList,
        "none",
        "More of these, left out where they do not exist.",
    ),
    flag("remove_groups", "true", "Takes it out of all groups that are not listed, if any are."),
    flag("system", "false", "A new one gets a number of the system's range."),
    flag(
        "nologinit",
        "false",
        "A new one is not entered in the files of last logins, which is slow for high numbers.",
    ),
    text("password", "as it is", "The hash of its password."),
    flag(
        "hash_password",
        "false",
        "`password` is the password itself, and is hashed here (SHA-512 of crypt).",
    ),
    flag("enforce_password", "true", "Sets the hash also if there is another one already."),
    flag("empty_password", "false", "No password is needed. `password` does not count then."),
    flag("password_lock", "as it is", "The password is locked (`!` in front of the hash), or is not."),
    text("loginclass", "", "Accepted as in Salt, which has it for BSD; Linux has no login classes."),
    text("date", "as it is", "When the password was set: days since 1970, or `2027-12-31`."),
    number("mindays", "Days that a password must stay."),
    number("maxdays", "Days after which a password must be altered."),
    number("inactdays", "Days that the account still works after the password has run out."),
    number("warndays", "Days of warning before that."),
    text("expire", "as it is", "When the account ends: days since 1970, or `2027-12-31`; -1 is never."),
];

pub(super) const ABSENT: &[Param] = &[
    Param::name("The account."),
    flag("purge", "false", "Its home folder and its mail go, too."),
    flag("force", "false", "Also while it is logged in."),
];
