//! `user`: accounts.

mod absent;
mod crypt;
mod params;
mod present;

use crate::{Doc, Examples, Function, Module};

pub(crate) const MODULE: Module = Module {
    name: "user",
    doc: Doc::new("Accounts."),
    functions: &[
        Function {
            name: "present",
            doc: Doc::new(
                "An account exists, with these properties. What is not given stays as it is. The password is a hash, as \
                  `mkpasswd -m sha512crypt` prints it, or with `hash_password` the password itself; it belongs into a \
                  secret pillar, and it is never shown and never an argument of a program.",
            ),
            params: params::PRESENT,
            examples: Examples::new(&[
                "ada:\n  user.present:\n    - fullname: Ada Lovelace\n    - shell: /bin/bash\n    - groups:\n      - sudo\n      \
                 - adm\n    - optional_groups:\n      - docker\n",
                "guest:\n  user.present:\n    - expire: '2027-12-31'\n    - maxdays: 90\n    - warndays: 7\n    - \
                 password_lock: true\n",
            ]),
            parse: present::parse,
        },
        Function {
            name: "absent",
            doc: Doc::new("An account does not exist. Its home folder stays, unless `purge` is set."),
            params: params::ABSENT,
            examples: Examples::new(&["pi:\n  user.absent:\n    - purge: true\n"]),
            parse: absent::parse,
        },
    ],
};
