//! The parameters of the functions of `pkg`.

use super::{any, flag, text};
use crate::{Param, ParamType};

const NAME: Param = text("name", "", "The package, if `pkgs` is not given.");
const PKGS: Param = any("pkgs", "", "Several packages, each a name or a mapping of name to version.");
const REFRESH: Param = flag(
    "refresh",
    "once in a run",
    "Fetches the lists of the repositories first: `true` always, `false` only if something cannot be found without.",
);
const CACHE_VALID_TIME: Param = Param::of(
    "cache_valid_time",
    ParamType::Duration,
    "",
    "Lists that are younger than this are not fetched again.",
);
const FROMREPO: Param =
    text("fromrepo", "all", "The release (apt) or the repository that the packages are taken out of.");
const SKIP_VERIFY: Param = flag("skip_verify", "false", "Takes packages that are not signed.");
const RECOMMENDS: Param = flag(
    "install_recommends",
    "as the machine has it",
    "Installs what the packages recommend, too (apt, dnf, zypper).",
);
const ONLY_UPGRADE: Param =
    flag("only_upgrade", "false", "Upgrades what is installed; what is not installed fails.");
const ENABLEREPO: Param = text("enablerepo", "", "Uses this repository although it is disabled (dnf, yum).");
const DISABLEREPO: Param = text("disablerepo", "", "Does not use this repository (dnf, yum).");
const UPDATE_HOLDS: Param = flag(
    "update_holds",
    "false",
    "Alters also what is held, and holds it again. apt does so without being told, as in Salt.",
);
const RESOLVE: Param = flag(
    "resolve_capabilities",
    "true",
    "What another package provides counts as installed. It always does where the package manager tells.",
);
const NORMALIZE: Param = flag(
    "normalize",
    "true",
    "Names are taken with or without their architecture; there is no other way here.",
);
const IGNORE_EPOCH: Param = flag(
    "ignore_epoch",
    "where none is written",
    "Versions are compared without their epochs: `true` always, `false` never.",
);

pub(super) const INSTALLED: &[Param] = &[
    NAME,
    PKGS,
    Param::of(
        "sources",
        ParamType::Places,
        "",
        "Files of packages instead of repositories: a list of mappings of the package's name to `lab://` or `salt://`, an \
         `https://` address or a path on the minion. It is installed if no version of it is there; of a path the version \
         counts.",
    ),
    text(
        "version",
        "any",
        "The version of `name`: exact, a pattern (`1.2*`), a comparison (`>=1.2`), several of these with commas between, \
         or `latest`.",
    ),
    REFRESH,
    CACHE_VALID_TIME,
    FROMREPO,
    SKIP_VERIFY,
    flag(
        "skip_suggestions",
        "false",
        "Salt looks for similar names when one is not found; here nothing does.",
    ),
    RECOMMENDS,
    ONLY_UPGRADE,
    ENABLEREPO,
    DISABLEREPO,
    flag("allow_updates", "false", "A newer version than the given one is good, too."),
    flag("reinstall", "false", "Installs again what is there already, each time."),
    flag("hold", "as it is", "The packages are held afterwards, or are not."),
    UPDATE_HOLDS,
    RESOLVE,
    NORMALIZE,
    IGNORE_EPOCH,
];

pub(super) const LATEST: &[Param] = &[
    NAME,
    PKGS,
    text("version", "the newest", "For `downloaded`: the exact version of `name`."),
    REFRESH,
    CACHE_VALID_TIME,
    FROMREPO,
    SKIP_VERIFY,
    RECOMMENDS,
    ONLY_UPGRADE,
    ENABLEREPO,
    DISABLEREPO,
    UPDATE_HOLDS,
    RESOLVE,
];

pub(super) const REMOVED: &[Param] = &[
    NAME,
    any("pkgs", "", "Several packages, each a name or a mapping of name to version."),
    text(
        "version",
        "any",
        "Removes `name` only if it has this version, which may be a pattern or a comparison.",
    ),
    NORMALIZE,
    IGNORE_EPOCH,
];

pub(super) const UPTODATE: &[Param] = &[
    text("name", "", "Only a name for this step."),
    any("pkgs", "everything", "Only these packages are upgraded."),
    flag("refresh", "once in a run", "Fetches the lists of the repositories first."),
    CACHE_VALID_TIME,
    flag(
        "dist_upgrade",
        "true",
        "Also installs and removes what the new versions need (apt, zypper); without it such packages stay as they are.",
    ),
];

pub(super) const HELD: &[Param] = &[
    NAME,
    PKGS,
    text("version", "the installed one", "Accepted as in Salt; what is held is the installed version."),
    flag("replace", "false", "Nothing but these is held."),
];

pub(super) const UNHELD: &[Param] =
    &[NAME, any("pkgs", "", "Several packages."), flag("all", "false", "Nothing is held afterwards.")];
